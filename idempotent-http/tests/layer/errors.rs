//! What the layer's own answers look like.

use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body_util::Full;
use idempotent_http::{HttpError, Problems};
use serde_json::Value;

use crate::world::{Client, World, order, order_of};

/// H-56.
#[tokio::test]
async fn errors_are_problem_details() {
    let world = World::new();
    let render = Problems::new()
        .with_base("https://api.example.com/problems/")
        .with_docs(&"https://api.example.com/docs".parse().unwrap());
    let service = world.counting(world.layer().render(render));
    service.send(order_of("k", "a")).await;
    let reply = service.send(order_of("k", "b")).await;
    assert_eq!(
        reply.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(reply.header("content-language"), Some("en"));
    let link = "<https://api.example.com/docs>; rel=\"describedby\"; type=\"text/html\"";
    assert_eq!(reply.header("link"), Some(link));
    let problem: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(problem["type"], "https://api.example.com/problems/mismatch");
    assert_eq!(problem["title"], "Idempotency-Key is already used");
    assert_eq!(problem["status"], 422);
    assert_eq!(problem["code"], "mismatch");
    assert_eq!(problem["retryable"], false);
    let instance = problem["instance"].as_str().unwrap();
    assert!(
        instance.starts_with("urn:uuid:") && instance.len() == 45,
        "{instance}"
    );
    assert!(!reply.is_replayed());
}

/// H-56: every code has its paragraph in the documentation.
#[test]
fn every_problem_is_explained() {
    let pages = include_str!("../../src/problems.rs");
    for code in [
        "failed",
        "indeterminate",
        "in-progress",
        "invalid-key",
        "mismatch",
        "missing-key",
        "scope",
        "store",
        "too-large",
        "unavailable",
        "upload",
        "upload-timeout",
    ] {
        assert!(pages.contains(&format!("//! # {code}\n")), "{code}");
    }
}

/// H-57.
#[tokio::test]
async fn a_service_may_have_errors_of_its_own() {
    let world = World::new();
    let render = |error: &HttpError| {
        let mut response = Response::new(Bytes::from(error.code()));
        *response.status_mut() = http::StatusCode::IM_A_TEAPOT;
        response
            .headers_mut()
            .insert("x-own", HeaderValue::from_static("1"));
        response
    };
    let service = world.counting(world.layer().render(render));
    let reply = service.send(order("a b")).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (418, "invalid-key"));
    assert_eq!(reply.header("x-own"), Some("1"));
}

/// H-53.
#[tokio::test]
async fn errors_of_the_layer_are_never_kept() {
    let world = World::new();
    let service = world.counting(world.layer().max_request_body(20));
    let mut large = order("k");
    *large.body_mut() = Full::from("x".repeat(21));
    assert_eq!(service.send(large).await.code(), "too-large");
    assert_eq!(service.send(order("k")).await.status, 201);
}
