//! Functions that claim their messages themselves.

use std::time::Duration;

use idempotent_consumer::{Consumer, HandlerError, Message, Mode, Outcome, Worker};
use idempotent_core::{Engine, Error, OnConflict, Outcome as Recorded};
use idempotent_testkit::faults::Op;

use crate::world::{Effects, SCOPE, World, dead, is_acked, message, retried};

/// What the attribute makes of a function whose key is the message's id.
async fn ship(
    engine: Engine,
    effects: Effects,
    message: Message,
) -> Result<Recorded<u32>, HandlerError> {
    engine
        .operation(SCOPE)
        .key(message.id)
        .fingerprint(&*message.body)
        .on_conflict(OnConflict::Fail)
        .run(async {
            match effects.happen() {
                run if message.subject == "fails" => {
                    Err(HandlerError::retryable(format!("failed {run} times")))
                }
                run => Ok(Recorded::new(run)),
            }
        })
        .await
}

fn worker(world: &World, consumer: &Consumer) -> Worker<impl Mode<Value = u32>> {
    let (engine, effects) = (world.engine.clone(), world.effects.clone());
    consumer.annotated(move |message| ship(engine.clone(), effects.clone(), message))
}

/// M11, M12, M13.
#[tokio::test(start_paused = true)]
async fn what_the_function_says_decides() {
    let mut world = World::new();
    let worker = worker(&world, &world.consumer());
    let delivery = world.delivery("1").await;
    let first = worker.process(&delivery).await;
    assert!(matches!(first.outcome, Outcome::Executed(1)) && is_acked(&first));
    let again = worker.process(&delivery).await;
    assert!(matches!(again.outcome, Outcome::Duplicate(Some(1))) && is_acked(&again));
    let mut other = message("1");
    other.body = "coffee".into();
    world.broker.publish(other);
    let other = world.next().await;
    assert_eq!(dead(&worker.process(&other).await), "mismatch");
}

/// M14, M21.
#[tokio::test(start_paused = true)]
async fn what_is_no_failure_of_the_function_is_not_counted() {
    let mut world = World::new();
    let worker = worker(&world, &world.consumer());
    let delivery = world.delivery("1").await;
    world.faults.on(Op::Claim).fail();
    assert!(!retried(&worker.process(&delivery).await).1);
    world.faults.clear();

    let held = world
        .engine
        .operation(SCOPE)
        .key("1")
        .fingerprint(&b"tea"[..]);
    let held = held.run(async {
        let processed = worker.process(&delivery).await;
        assert!(matches!(processed.outcome, Outcome::InProgress { .. }));
        assert!(!retried(&processed).1);
        Ok::<_, Error>(0_u32)
    });
    Box::pin(held).await.unwrap();
}

/// M16, M18, M27: the consumer counts, though the record is the function's.
#[tokio::test(start_paused = true)]
async fn the_functions_failures_are_counted_beside_its_record() {
    let mut world = World::new();
    let consumer = world.builder().max_attempts(3).build().unwrap();
    let worker = worker(&world, &consumer);
    world.broker.publish(message("1").with_subject("fails"));
    let delivery = world.next().await;
    for _ in 0..2 {
        for last in [false, false, true] {
            let processed = worker.process(&delivery).await;
            if last {
                assert_eq!(dead(&processed), "exhausted");
            } else {
                assert!(retried(&processed).1);
            }
        }
    }
    assert_eq!(world.effects.count(), 6);
}

/// M19.
#[tokio::test(start_paused = true)]
async fn a_panic_of_the_function_is_a_failure() {
    let mut world = World::new();
    let worker = world
        .consumer()
        .annotated(async |_| -> Result<Recorded<u32>, HandlerError> { panic!("a bug") });
    let delivery = world.delivery("1").await;
    assert!(retried(&worker.process(&delivery).await).1);
    tokio::time::sleep(Duration::from_millis(1)).await;
}
