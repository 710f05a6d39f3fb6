//! The layer in axum's routers.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap like tests")]

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::post;
use http_body_util::BodyExt;
use idempotent_core::{Engine, MemoryStore};
use idempotent_http::{Builder, IdempotencyContext, IdempotencyLayer, KeyScope};
use tower::ServiceExt;

fn layer() -> Builder {
    IdempotencyLayer::builder(Engine::new(MemoryStore::new())).unscoped()
}

async fn send(router: &Router, path: &str, key: Option<&str>) -> (u16, bool, String) {
    let mut request = Request::post(path);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let request = request.body(Body::from("order")).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let is_replayed = response.headers().contains_key("idempotent-replayed");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (
        status,
        is_replayed,
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

/// H-18: inside of a nested router the prefix is gone.
#[tokio::test]
async fn nested_routers_keep_their_requests_apart() {
    let engine = Engine::new(MemoryStore::new());
    let version = |name: &'static str| {
        let layer = IdempotencyLayer::builder(engine.clone()).unscoped();
        Router::new()
            .route("/orders", post(async move || name))
            .route_layer(layer.build().unwrap())
    };
    let router = Router::new()
        .nest("/v1", version("first"))
        .nest("/v2", version("second"));
    assert_eq!(send(&router, "/v1/orders", Some("k")).await.2, "first");
    assert_eq!(send(&router, "/v2/orders", Some("k")).await.0, 422);
    assert_eq!(send(&router, "/v2/orders", Some("other")).await.2, "second");
    assert!(send(&router, "/v1/orders", Some("k")).await.1);
}

/// H-24: the client may mend its path.
#[tokio::test]
async fn a_path_that_is_not_there_does_not_take_the_key() {
    let router = Router::new()
        .route("/orders", post(async || "order"))
        .layer(layer().build().unwrap());
    let lost = send(&router, "/oders", Some("k")).await;
    assert_eq!((lost.0, lost.1), (404, false));
    assert_eq!(send(&router, "/orders", Some("k")).await.0, 200);
    assert!(send(&router, "/orders", Some("k")).await.1);
}

/// A handler's own 404 is an answer.
#[tokio::test]
async fn a_404_of_a_handler_is_kept() {
    let router = Router::new()
        .route("/orders/{id}", post(async || StatusCode::NOT_FOUND))
        .layer(layer().build().unwrap());
    send(&router, "/orders/7", Some("k")).await;
    assert!(send(&router, "/orders/7", Some("k")).await.1);
}

/// H-17: an operation is a route, not a path.
#[tokio::test]
async fn the_template_of_a_route_names_the_operation() {
    let layer = layer()
        .key_scope(KeyScope::PrincipalAndOperation)
        .build()
        .unwrap();
    let router = Router::new()
        .route("/orders/{id}/pay", post(async || "paid"))
        .route("/orders/{id}/ship", post(async || "shipped"))
        .route_layer(layer);
    assert_eq!(send(&router, "/orders/1/pay", Some("k")).await.2, "paid");
    assert_eq!(
        send(&router, "/orders/1/ship", Some("k")).await.2,
        "shipped"
    );
    assert_eq!(send(&router, "/orders/2/pay", Some("k")).await.0, 422);
}

#[tokio::test]
async fn a_handler_can_extract_its_attempt() {
    let router = Router::new()
        .route(
            "/strict",
            post(async |context: IdempotencyContext| {
                format!("{} {}", context.key(), context.attempt().number())
            }),
        )
        .route(
            "/lenient",
            post(async |context: Option<IdempotencyContext>| match context {
                Some(context) => context.key().to_owned(),
                None => "unprotected".to_owned(),
            }),
        )
        .route_layer(layer().build().unwrap());
    assert_eq!(send(&router, "/strict", Some("k")).await.2, "k 1");
    assert_eq!(send(&router, "/strict", None).await.0, 500);
    assert_eq!(send(&router, "/lenient", Some("l")).await.2, "l");
    assert_eq!(send(&router, "/lenient", None).await.2, "unprotected");
}
