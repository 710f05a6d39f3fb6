//! A consumer is stopped at every await and at every call of its store.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use idempotent_consumer::{Consumer, Disposition, HandlerError, Processed, Source, TestBroker};
use idempotent_core::{Engine, Store};
use idempotent_testkit::interruptions::Interruptions;
use tokio::task::JoinSet;

use crate::world::{World, is_acked, message};

static EFFECTS: AtomicUsize = AtomicUsize::new(0);

/// One delivery of one message, by a new process.
async fn consume(store: impl Store) -> Result<u32, String> {
    let broker = TestBroker::new();
    broker.publish(message("1"));
    let delivery = broker.source().next().await.unwrap().unwrap();
    let consumer = Consumer::builder(Engine::new(store), "chaos")
        .build()
        .unwrap();
    let worker = consumer.leased(|_, _| async {
        EFFECTS.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        Ok(7)
    });
    let processed = worker.process(&delivery).await;
    acked(processed)
}

/// What was acknowledged, or why nothing was.
fn acked(processed: Processed<u32>) -> Result<u32, String> {
    use idempotent_consumer::Outcome;
    match (processed.disposition, processed.outcome) {
        (Disposition::Ack, Outcome::Executed(value) | Outcome::Duplicate(Some(value))) => Ok(value),
        (disposition, outcome) => Err(format!("{disposition:?}: {outcome:?}")),
    }
}

/// M7, M28, M60: acknowledged in the end, with one value; and handled twice at most, where the process
/// died after the effect and before its record.
#[test]
fn a_consumer_that_is_stopped_anywhere_acknowledges_what_has_taken_effect() {
    let report = Interruptions::of(consume)
        .effects(|| EFFECTS.load(Ordering::SeqCst))
        .run();
    report.assert_answered();
    report.assert_same_answers();
    assert_eq!(report.most_effects(), 2);
}

/// M60: sixteen deliveries at once, and each of them acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_deliveries_at_once_take_effect_once() {
    for failing in [false, true] {
        let mut world = World::new();
        let consumer = world.consumer();
        let worker = world.handling(&consumer, move |run| async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            if failing && run < 3 {
                return Err(HandlerError::retryable("no"));
            }
            Ok(run)
        });
        let mut tasks: JoinSet<Result<(), Infallible>> = JoinSet::new();
        for _ in 0..16 {
            let (worker, delivery) = (worker.clone(), world.delivery("1").await);
            tasks.spawn(async move {
                while !is_acked(&worker.process(&delivery).await) {}
                Ok(())
            });
        }
        tasks.join_all().await;
        assert_eq!(world.effects.count(), if failing { 3 } else { 1 });
    }
}
