//! A handler that runs: its client may go away, it may panic, the store may fail.

use std::convert::Infallible;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use idempotent_core::OnPanic;
use idempotent_http::Body;
use idempotent_testkit::faults::Op;
use tokio::time::{sleep, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::world::{Client, World, order, reply};

const SECOND: Duration = Duration::from_secs(1);

fn slow(world: &World) -> impl Client + use<> {
    world.serving(world.layer(), |_, run| async move {
        sleep(SECOND * 10).await;
        Response::new(Full::from(format!("run {run}")))
    })
}

/// H-31: whatever drops the future of the response, a timeout outside of the layer say.
#[tokio::test(start_paused = true)]
async fn a_handler_goes_on_without_its_client() {
    let world = World::new();
    let service = slow(&world);
    assert!(timeout(SECOND, service.send(order("k"))).await.is_err());
    assert_eq!(service.send(order("k")).await.code(), "in-progress");
    sleep(SECOND * 10).await;
    let retry = service.send(order("k")).await;
    assert!(retry.is_replayed());
    assert_eq!((retry.text(), world.runs.count()), ("run 1", 1));
}

/// A client that goes away before its key is granted leaves nothing behind.
#[tokio::test(start_paused = true)]
async fn a_client_that_goes_before_the_claim_runs_nothing() {
    let world = World::new();
    let service = slow(&world);
    world.faults.on(Op::Claim).first(1).delay(SECOND * 2);
    assert!(timeout(SECOND, service.send(order("k"))).await.is_err());
    sleep(SECOND * 3).await;
    assert_eq!(world.runs.count(), 0);
    assert_eq!(service.send(order("k")).await.body, "run 1");
}

/// H-32.
#[tokio::test(start_paused = true)]
async fn a_response_is_recorded_before_its_client_sees_it() {
    let world = World::new();
    let service = world.counting(world.layer());
    world.faults.on(Op::Complete).delay(SECOND * 5);
    let began = tokio::time::Instant::now();
    service.send(order("k")).await;
    assert!(began.elapsed() >= SECOND * 5);
    assert!(service.send(order("k")).await.is_replayed());
}

/// H-34.
#[tokio::test]
async fn a_panic_is_a_500_and_frees_the_key() {
    let world = World::new();
    let handler = |_, run| async move {
        assert!(run > 1, "the first run panics");
        Response::new(Full::<Bytes>::from("done"))
    };
    let service = world.serving(world.layer(), handler);
    let panicked = service.send(order("k")).await;
    assert_eq!(
        (panicked.status.as_u16(), panicked.code().as_str()),
        (500, "failed")
    );
    assert_eq!(service.send(order("k")).await.body, "done");

    let world = World::new();
    let service = world.serving(world.layer().on_panic(OnPanic::Hold), handler);
    service.send(order("k")).await;
    assert_eq!(service.send(order("k")).await.code(), "in-progress");
}

/// H-35.
#[tokio::test(start_paused = true)]
async fn a_drained_layer_has_recorded_everything() {
    let world = World::new();
    let layer = world.layer().build().unwrap();
    let runs = world.runs.clone();
    let service = layer.layer(service_fn(move |_: Request<Body<Full<Bytes>>>| {
        let run = runs.run();
        async move {
            sleep(SECOND * 10).await;
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(format!("run {run}"))))
        }
    }));
    assert!(timeout(SECOND, service.send(order("k"))).await.is_err());
    assert!(timeout(SECOND, layer.drained()).await.is_err());
    timeout(SECOND * 60, layer.drained()).await.unwrap();
    assert!(service.send(order("k")).await.is_replayed());
}

/// H-39.
#[tokio::test(start_paused = true)]
async fn a_response_that_cannot_be_recorded_goes_to_its_client_and_is_recorded_later() {
    let world = World::new();
    let service = world.counting(world.layer());
    world.faults.on(Op::Complete).fail();
    let first = service.send(order("k")).await;
    assert_eq!((first.status.as_u16(), first.text()), (201, "run 1"));
    assert_eq!(first.header("idempotency-stored"), Some("false"));
    assert_eq!(service.send(order("k")).await.code(), "in-progress");
    world.faults.clear();
    sleep(SECOND * 30).await;
    let retry = service.send(order("k")).await;
    assert!(retry.is_replayed());
    assert_eq!((retry.text(), world.runs.count()), ("run 1", 1));
}

/// H-37, as a client sees it: who was overtaken returns what the other has recorded.
#[tokio::test(start_paused = true)]
async fn a_handler_that_lost_its_lease_answers_with_the_response_that_counts() {
    let world = World::new();
    let service = world.serving(world.layer().lease(SECOND * 10), |_, run| async move {
        sleep(SECOND * if run == 1 { 60 } else { 1 }).await;
        Response::new(Full::<Bytes>::from(format!("run {run}")))
    });
    world.faults.on(Op::Renew).hang();
    let late = tokio::spawn({
        let service = service.clone();
        async move { service.send(order("k")).await }
    });
    sleep(SECOND * 11).await;
    assert_eq!(service.send(order("k")).await.body, "run 2");
    let late = late.await.unwrap();
    assert!(late.is_replayed());
    assert_eq!(late.body, "run 2");
}

/// H-60.
#[tokio::test]
async fn the_service_that_was_ready_is_the_one_that_is_called() {
    /// Ready once asked; a clone has to be asked anew.
    #[derive(Default)]
    struct Picky(bool);

    impl Clone for Picky {
        fn clone(&self) -> Self {
            Self(false)
        }
    }

    impl<B> Service<Request<B>> for Picky {
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<Full<Bytes>>, Infallible>>;
        type Response = Response<Full<Bytes>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            self.0 = true;
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<B>) -> Self::Future {
            assert!(self.0, "it was not asked whether it is ready");
            self.0 = false;
            std::future::ready(Ok(Response::default()))
        }
    }

    let world = World::new();
    let mut service = world.layer().build().unwrap().layer(Picky::default());
    for key in ["a", "b"] {
        poll_fn(|cx| Service::<Request<Full<Bytes>>>::poll_ready(&mut service, cx))
            .await
            .unwrap();
        let response = service.call(order(key)).await.unwrap();
        assert_eq!(reply(response).await.status, 200);
    }
}

/// An error of the inner service is its caller's, and frees the key.
#[tokio::test]
async fn an_error_of_the_service_passes_and_frees_the_key() {
    let world = World::new();
    let runs = world.runs.clone();
    let service =
        world
            .layer()
            .build()
            .unwrap()
            .layer(service_fn(move |_: Request<Body<Full<Bytes>>>| {
                let run = runs.run();
                async move {
                    match run {
                        1 => Err("broken"),
                        _ => Ok(Response::new(Full::<Bytes>::default())),
                    }
                }
            }));
    assert_eq!(
        service.clone().oneshot(order("k")).await.unwrap_err(),
        "broken"
    );
    assert_eq!(service.oneshot(order("k")).await.unwrap().status(), 200);
}
