//! What known services do.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use idempotent_http::{IdempotencyContext, IdempotencyLayer};
use serde_json::Value;

use crate::world::{Client, World, order, order_of};

fn json(body: &str) -> Value {
    serde_json::from_str(body).unwrap()
}

/// H-57, H-51: what Stripe's clients see.
#[tokio::test]
async fn stripe_v1_keeps_what_has_begun_and_speaks_as_stripe_does() {
    let world = World::new();
    let service = world.serving(world.layer().stripe_v1(), |request, run| async move {
        let context = request.extensions().get::<IdempotencyContext>();
        if run > 1 {
            context.unwrap().begin();
        }
        let response = Response::builder().status(if run == 1 { 400 } else { 500 });
        response
            .body(Full::<Bytes>::from(format!("run {run}")))
            .unwrap()
    });
    assert_eq!(
        service.send(order("k")).await.status,
        400,
        "not begun, not kept"
    );
    let first = service.send(order("k")).await;
    assert_eq!((first.status.as_u16(), first.text()), (500, "run 2"));
    assert_eq!(first.header("stripe-should-retry"), Some("false"));
    assert_eq!(first.header("idempotency-key"), Some("k"));
    let replay = service.send(order("k")).await;
    assert!(replay.is_replayed());
    assert_eq!(replay.header("stripe-should-retry"), Some("false"));
    let mismatch = service.send(order_of("k", "other")).await;
    assert_eq!(mismatch.status, 400);
    assert_eq!(json(mismatch.text())["error"]["type"], "idempotency_error");
    assert_eq!(world.runs.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn stripe_v1_asks_for_a_retry_of_what_is_in_progress() {
    let world = World::new();
    let service = world.serving(world.layer().stripe_v1(), |_, _| std::future::pending());
    let first = tokio::spawn({
        let service = service.clone();
        async move { service.send(order("k")).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    let busy = service.send(order("k")).await;
    assert_eq!(busy.status, 409);
    assert_eq!(json(busy.text())["error"]["code"], "idempotency_key_in_use");
    assert_eq!(busy.header("stripe-should-retry"), Some("true"));
    first.abort();
}

#[tokio::test]
async fn stripe_v2_makes_keys_and_runs_failures_again() {
    let world = World::new();
    let service = world.serving(world.layer().stripe_v2(), |_, run| async move {
        let response = Response::builder().status(if run == 1 { 402 } else { 200 });
        response
            .body(Full::<Bytes>::from(format!("run {run}")))
            .unwrap()
    });
    let delete = |key: Option<&str>| {
        let mut request = Request::delete("/v2/things/1")
            .body(Full::default())
            .unwrap();
        if let Some(key) = key {
            request
                .headers_mut()
                .insert("idempotency-key", key.parse().unwrap());
        }
        request
    };
    assert!(
        service
            .send(delete(None))
            .await
            .header("idempotency-key")
            .is_some()
    );
    assert_eq!(service.send(delete(Some("k"))).await.body, "run 2");
    assert!(service.send(delete(Some("k"))).await.is_replayed());
}

#[tokio::test]
async fn adyen_keeps_all_but_what_is_transient() {
    let world = World::new();
    let service = world.serving(world.layer().adyen(), |_, run| async move {
        let transient = if run == 1 { "true" } else { "false" };
        let response = Response::builder()
            .status(500)
            .header("transient-error", transient);
        response
            .body(Full::<Bytes>::from(format!("run {run}")))
            .unwrap()
    });
    service.send(order("k")).await;
    assert_eq!(service.send(order("k")).await.body, "run 2");
    assert!(service.send(order("k")).await.is_replayed());
    assert_eq!(
        service.send(order(&"k".repeat(65))).await.code(),
        "invalid-key"
    );
}

#[tokio::test]
async fn gocardless_points_to_what_is_there() {
    let world = World::new();
    let service = world.serving(world.layer().gocardless(), |_, _| async {
        let response = Response::builder()
            .status(201)
            .header("location", "/payments/1");
        response.body(Full::<Bytes>::default()).unwrap()
    });
    assert_eq!(service.send(order("k")).await.status, 201);
    let again = service.send(order("k")).await;
    assert_eq!(
        (again.status.as_u16(), again.header("location")),
        (409, Some("/payments/1"))
    );
}

#[tokio::test]
async fn square_paypal_and_aip_155_have_their_keys_elsewhere() {
    let body = |text| Request::post("/").body(Full::from(text)).unwrap();
    let header = Request::post("/")
        .header("PayPal-Request-Id", "k")
        .body(Full::default());
    let world = World::new();
    let square = world.counting(world.layer().square());
    let paypal = world.counting(world.layer().paypal().namespace("paypal"));
    let aip = world.counting(world.layer().aip_155().namespace("aip"));
    let uuid = r#"{"requestId":"8e03978e-40d5-43e8-bc93-6894a57f9324"}"#;
    let header = header.unwrap();
    for _ in 0..2 {
        square.send(body(r#"{"idempotency_key":"k"}"#)).await;
        paypal.send(header.clone()).await;
        aip.send(body(uuid)).await;
    }
    assert_eq!(world.runs.count(), 3);
    assert_eq!(square.send(body("{}")).await.code(), "missing-key");
    assert_eq!(
        aip.send(body(r#"{"requestId":"k"}"#)).await.code(),
        "invalid-key"
    );
}

#[tokio::test]
async fn a_webhook_is_handled_once_for_each_event() {
    let world = World::new();
    let layer = || IdempotencyLayer::builder(world.engine.clone()).unscoped();
    let handler = |_, run| async move {
        let response = Response::builder().status(if run == 1 { 404 } else { 204 });
        response.body(Full::<Bytes>::default()).unwrap()
    };
    let stripe = world.serving(layer().stripe_webhooks().namespace("stripe"), handler);
    let event = |body: &'static str| Request::post("/hooks").body(Full::from(body)).unwrap();
    assert_eq!(
        stripe
            .send(event(r#"{"id":"evt_1","created":1}"#))
            .await
            .status,
        404
    );
    assert_eq!(
        stripe
            .send(event(r#"{"id":"evt_1","created":1}"#))
            .await
            .status,
        204
    );
    assert!(
        stripe
            .send(event(r#"{"id":"evt_1","created":2}"#))
            .await
            .is_replayed()
    );
    assert_eq!(stripe.send(event("{}")).await.status, 400);
    assert_eq!(world.runs.count(), 2);

    let github = world.serving(layer().github_webhooks().namespace("github"), handler);
    let delivery = || {
        let request = Request::post("/hooks").header("x-github-delivery", "72d3162e");
        request.body(Full::default()).unwrap()
    };
    github.send(delivery()).await;
    assert!(github.send(delivery()).await.is_replayed());
    assert_eq!(world.runs.count(), 3);
}
