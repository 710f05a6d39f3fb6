//! Which requests are the same.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use idempotent_http::{IdempotencyLayer, KeyScope, Problems, RequestFingerprint};

use crate::world::{Client, World, order, order_of};

/// H-9.
#[tokio::test]
async fn a_quoted_key_and_a_bare_one_are_the_same() {
    let world = World::new();
    let service = world.counting(world.layer());
    let first = service.send(order("\"k\"")).await;
    let second = service.send(order("k")).await;
    assert!(second.is_replayed() && !first.is_replayed());
    assert_eq!(second.body, first.body);
}

/// H-13.
#[tokio::test]
async fn the_case_of_a_key_counts() {
    let world = World::new();
    let service = world.counting(world.layer());
    service.send(order("k")).await;
    service.send(order("K")).await;
    assert_eq!(world.runs.count(), 2);
}

/// H-15.
#[tokio::test]
async fn two_callers_with_one_key_never_meet() {
    let world = World::new();
    let service = world.counting(world.layer());
    let by = |caller: &'static str, body: &'static str| {
        let mut request = order_of("k", body);
        request
            .headers_mut()
            .insert("x-caller", caller.parse().unwrap());
        request
    };
    assert_eq!(service.send(by("ann", "a")).await.body, "run 1");
    assert_eq!(service.send(by("bob", "b")).await.body, "run 2");
    assert_eq!(service.send(by("ann", "a")).await.body, "run 1");
    assert_eq!(service.send(by("bob", "b")).await.body, "run 2");
}

/// H-16.
#[tokio::test]
async fn a_request_of_nobody_is_not_handled() {
    let world = World::new();
    let nobody = IdempotencyLayer::builder(world.engine.clone()).scope(|_| None);
    let reply = world.counting(nobody).send(order("k")).await;
    assert_eq!(
        (reply.status.as_u16(), reply.code().as_str()),
        (500, "scope")
    );

    let unauthorized = Problems::new().with_status("scope", StatusCode::UNAUTHORIZED);
    let service = world.counting(world.layer().render(unauthorized));
    let long = "c".repeat(600);
    for caller in ["", &long] {
        let mut request = order("k");
        request
            .headers_mut()
            .insert("x-caller", caller.parse().unwrap());
        assert_eq!(service.send(request).await.status, 401);
    }
    assert_eq!((world.runs.count(), world.store_calls()), (0, 0));
}

fn at(method: &str, path: &str) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("idempotency-key", "k")
        .body(Full::default())
        .unwrap()
}

/// H-17.
#[tokio::test]
async fn another_path_is_a_mismatch_or_another_operation() {
    let world = World::new();
    let service = world.counting(world.layer());
    assert_eq!(service.send(at("POST", "/orders")).await.body, "run 1");
    for other in [
        at("POST", "/refunds"),
        at("PATCH", "/orders"),
        at("POST", "/orders?a"),
    ] {
        assert_eq!(service.send(other).await.code(), "mismatch");
    }
    let by_operation = world.layer().key_scope(KeyScope::PrincipalAndOperation);
    let service = world.counting(by_operation);
    assert_eq!(service.send(at("POST", "/orders")).await.body, "run 2");
    assert_eq!(service.send(at("POST", "/refunds")).await.body, "run 3");
    assert_eq!(service.send(at("PATCH", "/orders")).await.body, "run 4");
    assert!(service.send(at("POST", "/refunds")).await.is_replayed());
}

/// H-19.
#[tokio::test]
async fn headers_do_not_count_unless_they_are_named() {
    let world = World::new();
    let with = |name: &'static str, value: &str| {
        let mut request = order("k");
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    let service = world.counting(world.layer());
    service.send(with("user-agent", "a")).await;
    for name in ["user-agent", "traceparent", "date", "accept"] {
        assert!(service.send(with(name, "b")).await.is_replayed(), "{name}");
    }
    let fingerprint = RequestFingerprint::bytes().header("x-version".parse().unwrap());
    let service = world.counting(world.layer().namespace("named").fingerprint(fingerprint));
    service.send(with("x-version", "1")).await;
    assert!(service.send(with("x-version", "1")).await.is_replayed());
    assert_eq!(
        service.send(with("x-version", "2")).await.code(),
        "mismatch"
    );
}

/// H-19.
#[tokio::test]
async fn json_may_be_compared_by_what_it_says_and_a_body_not_at_all() {
    let world = World::new();
    let json = world
        .layer()
        .namespace("json")
        .fingerprint(RequestFingerprint::json());
    let service = world.counting(json);
    service.send(order_of("k", r#"{"a":1,"b":2}"#)).await;
    assert!(
        service
            .send(order_of("k", r#"{ "b": 2, "a": 1 }"#))
            .await
            .is_replayed()
    );
    assert_eq!(
        service.send(order_of("k", r#"{"a":1}"#)).await.code(),
        "mismatch"
    );
    let service = world.counting(world.layer().fingerprint(RequestFingerprint::none()));
    service.send(order_of("k", "a")).await;
    assert!(service.send(order_of("k", "b")).await.is_replayed());
}

/// H-21.
#[tokio::test]
async fn a_mismatch_changes_nothing() {
    let world = World::new();
    let service = world.counting(world.layer());
    service.send(order_of("k", "a")).await;
    let other = service.send(order_of("k", "b")).await;
    assert_eq!(
        (other.status.as_u16(), other.code().as_str()),
        (422, "mismatch")
    );
    assert!(service.send(order_of("k", "a")).await.is_replayed());
    assert_eq!(world.runs.count(), 1);
}
