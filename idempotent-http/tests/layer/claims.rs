//! What comes of a key that is not new.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use idempotent_core::{OnAbandoned, OnConflict, OnStoreFailure};
use idempotent_testkit::faults::Op;
use tokio::time::sleep;

use crate::world::{Client, World, order, order_of};

const MOMENT: Duration = Duration::from_millis(20);

fn slow(world: &World, layer: idempotent_http::Builder, pause: Duration) -> impl Client + use<> {
    world.serving(layer, move |_, run| async move {
        sleep(pause).await;
        Response::new(Full::from(format!("run {run}")))
    })
}

/// H-28.
#[tokio::test]
async fn a_repeated_request_gets_the_response_again() {
    let world = World::new();
    let service = world.counting(world.layer());
    let first = service.send(order("k")).await;
    assert!(!first.is_replayed());
    let second = service.send(order("k")).await;
    assert!(second.is_replayed());
    assert_eq!((second.status, &second.body), (first.status, &first.body));
    assert_eq!(world.runs.count(), 1);
}

/// H-20: decided before it is seen that the first still runs.
#[tokio::test(start_paused = true)]
async fn another_request_is_a_mismatch_even_while_the_first_runs() {
    let world = World::new();
    let service = slow(&world, world.layer(), Duration::from_secs(1));
    let first = tokio::spawn({
        let service = service.clone();
        async move { service.send(order_of("k", "a")).await }
    });
    sleep(MOMENT).await;
    assert_eq!(service.send(order_of("k", "b")).await.code(), "mismatch");
    assert_eq!(service.send(order_of("k", "a")).await.code(), "in-progress");
    assert_eq!(first.await.unwrap().body, "run 1");
}

/// H-28: the handler does not run on a guess.
#[tokio::test(start_paused = true)]
async fn without_its_store_the_service_handles_nothing() {
    let world = World::new();
    let service = world.counting(world.layer());
    world.faults.on(Op::Claim).fail();
    let refused = service.send(order("k")).await;
    assert_eq!(
        (refused.status.as_u16(), refused.code().as_str()),
        (503, "store")
    );
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(world.runs.count(), 0);

    let open = world
        .layer()
        .on_store_failure(OnStoreFailure::RunUnprotected);
    let reply = world.counting(open).send(order("k")).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (201, "run 1"));
    assert_eq!(reply.header("idempotency-stored"), Some("false"));
}

/// H-29.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_requests_at_once_one_runs() {
    for conflict in [OnConflict::Fail, OnConflict::Wait(Duration::from_secs(10))] {
        let world = World::new();
        let service = slow(&world, world.layer().on_conflict(conflict), MOMENT);
        let calls: Vec<_> = (0..64)
            .map(|_| {
                let service = service.clone();
                tokio::spawn(async move { service.send(order("k")).await })
            })
            .collect();
        let mut executed = 0;
        for call in calls {
            let reply = call.await.unwrap();
            match reply.status.as_u16() {
                200 => assert_eq!(reply.body, "run 1"),
                _ => assert_eq!(reply.code(), "in-progress"),
            }
            assert!(reply.status == 200 || conflict == OnConflict::Fail);
            executed += u32::from(reply.status == 200 && !reply.is_replayed());
        }
        assert_eq!((executed, world.runs.count()), (1, 1));
        assert!(service.send(order("k")).await.is_replayed());
    }
}

/// H-30.
#[tokio::test(start_paused = true)]
async fn a_request_in_progress_is_a_conflict_that_says_when_to_come_again() {
    let world = World::new();
    let service = slow(&world, world.layer(), Duration::from_secs(30));
    let first = tokio::spawn({
        let service = service.clone();
        async move { service.send(order("k")).await }
    });
    sleep(MOMENT).await;
    let refused = service.send(order("k")).await;
    assert_eq!(refused.status, 409);
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=5).contains(&seconds), "{seconds}");
    assert_eq!(first.await.unwrap().status, 200);
}

/// H-30.
#[tokio::test(start_paused = true)]
async fn who_waits_gets_the_same_response_or_a_conflict() {
    let world = World::new();
    let wait = |limit| {
        let layer = world.layer().on_conflict(OnConflict::Wait(limit));
        slow(&world, layer, Duration::from_secs(10))
    };
    let (patient, hasty) = (wait(Duration::from_secs(60)), wait(Duration::from_secs(1)));
    let first = tokio::spawn({
        let service = patient.clone();
        async move { service.send(order("k")).await }
    });
    sleep(MOMENT).await;
    assert_eq!(hasty.send(order("k")).await.code(), "in-progress");
    let waited = patient.send(order("k")).await;
    assert!(waited.is_replayed());
    assert_eq!(waited.body, first.await.unwrap().body);
    assert_eq!(world.runs.count(), 1);
}

/// H-30: of many who wait for a request that fails, one runs at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failure_makes_one_waiter_run() {
    let world = World::new();
    let layer = world
        .layer()
        .on_conflict(OnConflict::Wait(Duration::from_secs(10)));
    let service = world.serving(layer, |_, run| async move {
        sleep(MOMENT).await;
        let status = if run == 1 { 503 } else { 201 };
        let response = Response::builder().status(status);
        response
            .body(Full::<Bytes>::from(format!("run {run}")))
            .unwrap()
    });
    let calls: Vec<_> = (0..32)
        .map(|_| {
            let service = service.clone();
            tokio::spawn(async move { service.send(order("k")).await })
        })
        .collect();
    let mut bodies = Vec::new();
    for call in calls {
        bodies.push(call.await.unwrap().body);
    }
    bodies.sort();
    assert_eq!(world.runs.count(), 2);
    assert_eq!(bodies.iter().filter(|body| *body == "run 1").count(), 1);
    assert_eq!(bodies.iter().filter(|body| *body == "run 2").count(), 31);
}

/// H-36: a handler that takes three leases.
#[tokio::test(start_paused = true)]
async fn a_long_handler_keeps_its_key() {
    let world = World::new();
    let lease = Duration::from_secs(60);
    let service = slow(&world, world.layer().lease(lease), lease * 3);
    let first = tokio::spawn({
        let service = service.clone();
        async move { service.send(order("k")).await }
    });
    for _ in 0..17 {
        sleep(Duration::from_secs(10)).await;
        assert_eq!(service.send(order("k")).await.code(), "in-progress");
    }
    assert_eq!(first.await.unwrap().body, "run 1");
    assert!(world.faults.count(Op::Renew) >= 8, "every third of a lease");
}

/// H-38.
#[tokio::test(start_paused = true)]
async fn after_the_death_of_a_request_the_next_one_sees_that_it_is_not_the_first_or_is_refused() {
    for (policy, code) in [
        (OnAbandoned::Rerun, ""),
        (OnAbandoned::InDoubt, "indeterminate"),
    ] {
        let world = World::new();
        let layer = || {
            world
                .layer()
                .lease(Duration::from_secs(10))
                .on_abandoned(policy)
        };
        let service = world.serving(layer(), |request, run| async move {
            let context = request
                .extensions()
                .get::<idempotent_http::IdempotencyContext>()
                .unwrap()
                .clone();
            if run == 1 {
                std::future::pending::<()>().await;
            }
            let attempt = context.attempt();
            Response::new(Full::from(format!("attempt {}", attempt.number())))
        });
        // The death of a process, as far as the store can tell: nobody renews, nobody releases.
        world.faults.on(Op::Renew).hang();
        let dead = tokio::spawn({
            let service = service.clone();
            async move { service.send(order("k")).await }
        });
        sleep(Duration::from_secs(9)).await;
        assert_eq!(service.send(order("k")).await.code(), "in-progress");
        sleep(Duration::from_secs(2)).await;
        let next = service.send(order("k")).await;
        match policy {
            OnAbandoned::Rerun => assert_eq!(next.body, "attempt 2"),
            _ => assert_eq!((next.status.as_u16(), next.code().as_str()), (409, code)),
        }
        dead.abort();
    }
}

/// H-54.
#[tokio::test(start_paused = true)]
async fn a_response_is_kept_for_its_ttl_from_its_completion() {
    let world = World::new();
    let ttl = Duration::from_secs(60);
    let service = slow(&world, world.layer().ttl(ttl), Duration::from_secs(100));
    assert_eq!(service.send(order("k")).await.body, "run 1");
    sleep(Duration::from_secs(59)).await;
    assert!(service.send(order("k")).await.is_replayed());
    sleep(Duration::from_secs(2)).await;
    assert_eq!(service.send(order_of("k", "another")).await.body, "run 2");
}
