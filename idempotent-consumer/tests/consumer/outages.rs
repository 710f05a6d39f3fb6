//! The store is down, and messages stay in the broker.

use std::time::Duration;

use idempotent_consumer::EventKind;
use idempotent_testkit::faults::Op;
use tokio::time::{Instant, sleep};

use crate::world::{World, message};

const SECOND: Duration = Duration::from_secs(1);

/// M33.
#[tokio::test(start_paused = true)]
async fn nothing_is_fetched_but_one_at_a_time_while_the_store_is_down() {
    let world = World::new();
    let consumer = world
        .builder()
        .concurrency(4)
        .max_attempts(2)
        .build()
        .unwrap();
    let worker = world.counting(&consumer);
    for number in 0..100 {
        world.broker.publish(message(&number.to_string()));
    }
    world.faults.on(Op::Claim).fail();
    let outage = async {
        sleep(SECOND * 300).await;
        let delivered = world.broker.counts().delivered;
        world.faults.clear();
        world.broker.idle().await;
        delivered
    };
    let mut delivered = 0;
    let began = Instant::now();
    let done = async { delivered = outage.await };
    worker.run(world.broker.source(), done).await.unwrap();

    // Five to notice, a few that were under way, and one for each probe.
    assert!(delivered < 30, "{delivered} deliveries");
    assert!(began.elapsed() < SECOND * 400, "{:?}", began.elapsed());
    assert_eq!(world.effects.count(), 100);
    assert!(world.broker.dead_letters().is_empty());
    assert_eq!(consumer.counts().of(EventKind::Failed), 0);
}
