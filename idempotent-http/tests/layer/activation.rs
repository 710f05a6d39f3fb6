//! Which requests are the layer's business.

use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request};
use http_body::{Body as HttpBody, Frame};
use http_body_util::Full;
use idempotent_http::{ConfigError, KeySource, KeySyntax, MissingKey};
use tower::{Layer, ServiceExt, service_fn};

use crate::world::{Client, World, order, reply};

/// A body that nobody may look at.
struct Unread;

impl HttpBody for Unread {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("the body was read");
    }
}

/// H-1.
#[tokio::test]
async fn other_methods_pass_untouched() {
    let world = World::new();
    let service = world.layer().build().unwrap().layer(service_fn(async |_| {
        Ok::<_, Infallible>(http::Response::new(Full::from("passed")))
    }));
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PURGE"] {
        let request = Request::builder()
            .method(method)
            .header("idempotency-key", "k")
            .body(Unread)
            .unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(reply(response).await.body, "passed", "{method}");
    }
    assert_eq!(world.store_calls(), 0);
}

/// H-2.
#[tokio::test]
async fn methods_can_be_chosen_but_not_safe_ones() {
    let world = World::new();
    for method in [
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::TRACE,
        Method::CONNECT,
    ] {
        let refused = world.layer().methods([method.clone()]).build();
        assert_eq!(refused.unwrap_err(), ConfigError::Method(method));
    }
    let none = world.layer().methods([]).build();
    assert_eq!(none.unwrap_err(), ConfigError::NoMethods);

    let service = world.counting(world.layer().methods([Method::DELETE]));
    let request = || {
        let request = Request::delete("/orders/1").header("idempotency-key", "k");
        request.body(Full::default()).unwrap()
    };
    let first = service.send(request()).await;
    assert_eq!(service.send(request()).await.body, first.body);
    assert_eq!(world.runs.count(), 1);
}

/// H-3.
#[tokio::test]
async fn upgrades_pass() {
    let world = World::new();
    let service = world.counting(world.layer());
    for _ in 0..2 {
        let mut request = order("k");
        request
            .headers_mut()
            .insert("upgrade", "websocket".parse().unwrap());
        service.send(request).await;
    }
    assert_eq!((world.runs.count(), world.store_calls()), (2, 0));
}

/// H-4.
#[tokio::test]
async fn a_request_without_a_key_passes_or_is_refused_or_gets_one() {
    let without_key = || Request::post("/orders").body(Full::from("x")).unwrap();

    let world = World::new();
    let service = world.counting(world.layer());
    assert_eq!(service.send(without_key()).await.status, 201);
    assert_eq!((world.runs.count(), world.store_calls()), (1, 0));

    let required = world.layer().on_missing_key(MissingKey::Refuse);
    let refused = world.counting(required).send(without_key()).await;
    assert_eq!(
        (refused.status.as_u16(), refused.code().as_str()),
        (400, "missing-key")
    );
    assert!(
        refused.text().contains("`Idempotency-Key`"),
        "{}",
        refused.text()
    );
    assert_eq!((world.runs.count(), world.store_calls()), (1, 0));

    let minting = world.counting(world.layer().on_missing_key(MissingKey::Mint).echo_key());
    let first = minting.send(without_key()).await;
    let mut retry = without_key();
    let minted = first.headers["idempotency-key"].clone();
    retry.headers_mut().insert("idempotency-key", minted);
    assert!(minting.send(retry).await.is_replayed());
}

/// H-5.
#[tokio::test]
async fn what_is_skipped_passes() {
    let world = World::new();
    let service = world.counting(world.layer().skip(|parts| parts.uri.path() == "/orders"));
    service.send(order("k")).await;
    service.send(order("k")).await;
    assert_eq!((world.runs.count(), world.store_calls()), (2, 0));
}

/// H-6.
#[tokio::test]
async fn the_key_may_stand_elsewhere() {
    let header = Request::post("/")
        .header("X-Request-Key", "k")
        .body(Full::default());
    let query = Request::post("/?a=1&key=k%20k").body(Full::default());
    let member = Request::post("/").body(Full::from(r#"{"meta":{"key":"k"}}"#));
    let path = Request::post("/orders/k").body(Full::default());
    let sources = [
        (KeySource::header("x-request-key".parse().unwrap()), header),
        (KeySource::query("key"), query),
        (KeySource::json_pointer("/meta/key"), member),
        (
            KeySource::of(|parts| Ok(parts.uri.path().strip_prefix("/orders/").map(str::to_owned))),
            path,
        ),
    ];
    for (source, request) in sources {
        let world = World::new();
        let required = world.layer().on_missing_key(MissingKey::Refuse);
        let service = world.counting(required.key_source(source.clone()));
        let request = request.unwrap();
        assert_eq!(
            service.send(request.clone()).await.status,
            201,
            "{source:?}"
        );
        assert!(service.send(request).await.is_replayed(), "{source:?}");
        let without = Request::post("/").body(Full::from("{}")).unwrap();
        assert_eq!(
            service.send(without).await.code(),
            "missing-key",
            "{source:?}"
        );
        assert_eq!(world.runs.count(), 1, "{source:?}");
    }
}

/// A key in the body that is no key.
#[tokio::test]
async fn a_member_that_is_no_string_is_an_invalid_key() {
    let world = World::new();
    let service = world.counting(world.layer().key_source(KeySource::json_pointer("/key")));
    for body in [r#"{"key":7}"#, r#"{"key":""}"#, r#"{"key":["k"]}"#] {
        let request = Request::post("/").body(Full::from(body)).unwrap();
        assert_eq!(service.send(request).await.code(), "invalid-key", "{body}");
    }
    assert_eq!((world.runs.count(), world.store_calls()), (0, 0));
}

/// H-7, H-10, H-13: before the body is read, and before the store is asked.
#[tokio::test]
async fn a_bad_key_is_refused_before_anything_else() {
    let world = World::new();
    let layer = world.layer().key_syntax(KeySyntax::Strict).build().unwrap();
    let service = layer.layer(service_fn(async |_| {
        Ok::<_, Infallible>(http::Response::new(Full::<Bytes>::default()))
    }));
    let long = format!("\"{}\"", "k".repeat(256));
    for lines in [
        &[""][..],
        &["\"\""],
        &["\"a\"", "\"a\""],
        &["bare"],
        &[&long],
    ] {
        let mut request = Request::post("/").body(Unread).unwrap();
        for line in lines {
            let line = line.parse().unwrap();
            request.headers_mut().append("idempotency-key", line);
        }
        let response = service.clone().oneshot(request).await.unwrap();
        let reply = reply(response).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code().as_str()),
            (400, "invalid-key")
        );
    }
    assert_eq!(world.store_calls(), 0);
}

/// H-11, H-12.
#[tokio::test]
async fn a_service_may_be_picky_about_keys() {
    let world = World::new();
    for lengths in [0..=10, 1..=256, RangeInclusive::new(9, 8)] {
        let refused = world.layer().key_lengths(lengths).build();
        assert!(matches!(refused, Err(ConfigError::KeyLengths { .. })));
    }
    let uuids = world.counting(world.layer().uuid_keys());
    assert_eq!(uuids.send(order("k")).await.code(), "invalid-key");
    let uuid = "8e03978e-40d5-43e8-bc93-6894a57f9324";
    assert_eq!(uuids.send(order(uuid)).await.status, 201);
    let own = world.counting(world.layer().valid_keys(|key| key.starts_with("ord_")));
    assert_eq!(own.send(order("k")).await.code(), "invalid-key");
    assert_eq!(own.send(order("ord_1")).await.status, 201);
}
