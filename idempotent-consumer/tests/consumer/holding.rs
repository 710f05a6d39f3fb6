//! Brokers that cannot wait, and count what is no failure.

use std::time::Duration;

use idempotent_consumer::{EventKind, HandlerError, Outcome, TestBroker};
use tokio::time::{Instant, sleep};

use crate::world::{World, begin, is_acked, message};

const SECOND: Duration = Duration::from_secs(1);

/// M48: ten looks at a message that is being handled, with a limit of three returns.
#[tokio::test(start_paused = true)]
async fn what_is_no_failure_is_held_where_the_broker_would_count_it() {
    let mut world = World::with(TestBroker::new().without_delays().with_delivery_limit(3));
    let consumer = world.builder().hold_max(SECOND * 600).build().unwrap();
    let slow = world.handling(&consumer, |run| async move {
        sleep(SECOND * 300).await;
        Ok(run)
    });
    let (first, second) = (world.delivery("1").await, world.delivery("1").await);
    let (first, second) = tokio::join!(slow.handle(first), slow.handle(second));
    assert!(matches!(first.outcome, Outcome::Executed(1)));
    assert!(matches!(second.outcome, Outcome::Duplicate(_)));
    assert!(consumer.counts().of(EventKind::InProgress) >= 8);
    let counts = world.broker.counts();
    assert_eq!((counts.acked, counts.retried_uncounted), (2, 0));
    assert!(world.broker.given_up().is_empty());
}

/// M48: not for ever.
#[tokio::test(start_paused = true)]
async fn what_is_held_for_too_long_goes_back() {
    let mut world = World::with(TestBroker::new().without_delays().with_delivery_limit(3));
    let consumer = world.consumer();
    let slow = world.handling(&consumer, |_| std::future::pending());
    let (first, second) = (world.delivery("1").await, world.delivery("1").await);
    let mut running = Box::pin(slow.process(&first));
    begin(&mut running).await;
    let began = Instant::now();
    let processed = tokio::select! {
        processed = slow.handle(second) => processed,
        _ = running => panic!("it never ends"),
    };
    assert!(matches!(processed.outcome, Outcome::InProgress { .. }));
    // Half a minute in all, and two seconds for each look.
    assert!(began.elapsed() >= SECOND * 30 && began.elapsed() <= SECOND * 40);
    assert_eq!(world.broker.counts().retried_uncounted, 1);
}

/// M49: a broker that cannot wait delivers thousands of times in a second.
#[tokio::test(start_paused = true)]
async fn a_failed_message_is_held_where_the_broker_cannot_wait() {
    let world = World::with(TestBroker::new().without_delays());
    let consumer = world.builder().max_attempts(4).build().unwrap();
    let failing = world.handling(&consumer, |_| async {
        Err(HandlerError::retryable("no").after(SECOND * 10))
    });
    world.broker.publish(message("1"));
    let began = Instant::now();
    failing
        .run(world.broker.source(), world.broker.idle())
        .await
        .unwrap();
    assert_eq!(began.elapsed(), SECOND * 30);
    assert_eq!(world.broker.counts().delivered, 4);
}

/// M49: held messages do not keep others out.
#[tokio::test(start_paused = true)]
async fn held_messages_leave_a_place_for_others() {
    let world = World::with(TestBroker::new().without_delays().with_prefetch(4));
    let consumer = world.builder().concurrency(2).build().unwrap();
    let effects = world.effects.clone();
    let worker = consumer.leased(move |message: idempotent_consumer::Message, _| {
        let is_poison = message
            .id
            .is_some_and(|id| id.as_str().starts_with("poison"));
        let effects = effects.clone();
        async move {
            if is_poison {
                return Err(HandlerError::retryable("no").after(SECOND * 3600));
            }
            Ok(effects.happen())
        }
    });
    for number in 0..6 {
        world.broker.publish(message(&format!("poison-{number}")));
    }
    for number in 0..20 {
        world.broker.publish(message(&number.to_string()));
    }
    worker
        .run(world.broker.source(), sleep(SECOND * 120))
        .await
        .unwrap();
    assert_eq!(world.effects.count(), 20);
    assert!(
        world.broker.counts().delivered < 200,
        "{:?}",
        world.broker.counts()
    );
}

/// What the broker can do itself is left to it.
#[tokio::test(start_paused = true)]
async fn nothing_is_held_for_a_broker_that_can_wait() {
    let mut world = World::new();
    let consumer = world.consumer();
    let failing = world.handling(&consumer, |run| async move {
        if run == 1 {
            return Err(HandlerError::retryable("no").after(SECOND * 10));
        }
        Ok(run)
    });
    let delivery = world.delivery("1").await;
    let began = Instant::now();
    failing.handle(delivery).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    let again = world.next().await;
    assert_eq!(began.elapsed(), SECOND * 10);
    assert!(is_acked(&failing.handle(again).await));
}
