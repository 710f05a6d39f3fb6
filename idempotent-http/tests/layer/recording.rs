//! Which responses are kept.

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use idempotent_http::{IdempotencyContext, Recording, StatusPolicy};

use crate::world::{Client, World, order, order_of};

fn with_status(world: &World, layer: idempotent_http::Builder, status: u16) -> impl Client + use<> {
    world.serving(layer, move |_, run| async move {
        let response = Response::builder().status(status);
        response
            .body(Full::<Bytes>::from(format!("run {run}")))
            .unwrap()
    })
}

/// Whether a response with `status` is kept.
async fn keeps(statuses: StatusPolicy, status: u16) -> bool {
    let world = World::new();
    let service = with_status(&world, world.layer().statuses(statuses), status);
    let first = service.send(order("k")).await;
    let second = service.send(order("k")).await;
    assert_eq!(second.status, first.status);
    assert_eq!(second.is_replayed(), second.body == first.body);
    second.is_replayed()
}

/// H-49.
#[tokio::test]
async fn what_answers_a_request_is_kept() {
    for status in [200, 201, 204, 301, 303, 400, 403, 404, 409, 410, 422] {
        assert!(keeps(StatusPolicy::default(), status).await, "{status}");
    }
    for status in [401, 407, 408, 421, 423, 425, 429, 500, 502, 503, 504, 599] {
        assert!(!keeps(StatusPolicy::default(), status).await, "{status}");
    }
    assert!(keeps(StatusPolicy::successes(), 201).await);
    assert!(!keeps(StatusPolicy::successes(), 303).await);
    assert!(keeps(StatusPolicy::all(), 500).await);
    assert!(keeps(StatusPolicy::all(), 429).await);
}

/// H-50.
#[tokio::test]
async fn a_handler_has_the_last_word() {
    for (status, recording, runs, code) in [
        (500, Recording::Store, 1, ""),
        (201, Recording::Release, 2, ""),
        (201, Recording::Tombstone, 1, "unavailable"),
    ] {
        let world = World::new();
        let service = world.serving(world.layer(), move |_, run| async move {
            let response = Response::builder().status(status).extension(recording);
            response
                .body(Full::<Bytes>::from(format!("run {run}")))
                .unwrap()
        });
        assert_eq!(service.send(order("k")).await.status, status);
        assert_eq!(service.send(order("k")).await.code(), code);
        assert_eq!(world.runs.count(), runs);
    }
}

/// H-51.
#[tokio::test]
async fn with_deferred_begin_only_what_follows_the_beginning_is_kept() {
    let world = World::new();
    let service = world.serving(world.layer().deferred_begin(), |request, run| async move {
        let context = request.extensions().get::<IdempotencyContext>().unwrap();
        if run == 1 {
            return Response::builder()
                .status(400)
                .body(Full::from("invalid"))
                .unwrap();
        }
        context.begin();
        Response::new(Full::<Bytes>::from(format!("run {run}")))
    });
    assert_eq!(service.send(order_of("k", "bad")).await.status, 400);
    assert_eq!(service.send(order_of("k", "good")).await.body, "run 2");
    assert!(service.send(order_of("k", "good")).await.is_replayed());
}

/// H-52, where nothing has begun; see `with_deferred_begin_..`. What has run may have had half of its
/// effect, and another request under its key would be taken for its retry.
#[tokio::test]
async fn a_key_that_a_failure_has_freed_is_free_for_the_same_request() {
    let world = World::new();
    let service = with_status(&world, world.layer(), 503);
    service.send(order_of("k", "a")).await;
    assert_eq!(service.send(order_of("k", "b")).await.code(), "mismatch");
    assert_eq!(service.send(order_of("k", "a")).await.body, "run 2");
}
