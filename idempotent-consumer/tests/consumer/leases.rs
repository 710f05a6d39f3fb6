//! Two clocks run while a handler does: the record's, and the broker's.

use std::sync::Arc;
use std::time::Duration;

use idempotent_consumer::{Context, EventKind, Message, Outcome, TestBroker};
use idempotent_testkit::faults::Op;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::world::{LEASE, World, is_acked};

const SECOND: Duration = Duration::from_secs(1);

/// M35: both, for as long as it takes.
#[tokio::test(start_paused = true)]
async fn a_handler_may_take_longer_than_either_clock() {
    let mut world = World::with(TestBroker::new().with_visibility(LEASE * 2));
    let consumer = world.consumer();
    let slow = world.handling(&consumer, |run| async move {
        sleep(LEASE * 10).await;
        Ok(run)
    });
    let delivery = world.delivery("1").await;
    assert!(is_acked(&slow.handle(delivery).await));
    assert_eq!(
        (world.broker.counts().delivered, world.broker.counts().acked),
        (1, 1)
    );
    assert!(world.broker.counts().extended >= 14);
    assert!(world.faults.count(Op::Renew) >= 29);
}

/// M35.
#[tokio::test(start_paused = true)]
async fn a_handler_whose_lease_is_lost_is_told() {
    let mut world = World::new();
    let consumer = world.consumer();
    let worker = consumer.leased(|_: Message, context: Context| async move {
        let began = Instant::now();
        context.cancelled().await;
        assert!(context.is_cancelled());
        Ok(began.elapsed())
    });
    let delivery = world.delivery("1").await;
    world.faults.on(Op::Renew).nth(2).lose_lease();
    let processed = worker.process(&delivery).await;
    assert!(
        matches!(processed.outcome, Outcome::LeaseLost),
        "{processed:?}"
    );
}

/// M35: the record protects it.
#[tokio::test(start_paused = true)]
async fn a_handler_whose_delivery_is_lost_goes_on() {
    let mut world = World::with(TestBroker::new().with_visibility(LEASE * 2));
    let consumer = world.consumer();
    let cut = Arc::new(Notify::new());
    let (broker, told) = (world.broker.clone(), Arc::clone(&cut));
    let slow = world.handling(&consumer, move |run| {
        let (broker, told) = (broker.clone(), Arc::clone(&told));
        async move {
            if run == 1 {
                assert!(broker.cut_one_off());
                told.notify_one();
            }
            sleep(SECOND * 100).await;
            Ok(run)
        }
    });
    let delivery = world.delivery("1").await;
    let others = slow.clone();
    let other = async {
        cut.notified().await;
        let done = world.broker.idle();
        others.run(world.broker.source(), done).await.unwrap();
    };
    let (processed, ()) = tokio::join!(slow.handle(delivery), other);
    assert!(matches!(processed.outcome, Outcome::Executed(1)));
    assert_eq!(world.effects.count(), 1);
    assert_eq!(world.broker.counts().acked, 1, "by whoever got it again");
    // Two extensions or more, and the acknowledgement.
    assert!(consumer.counts().of(EventKind::SettleError) >= 3);
}
