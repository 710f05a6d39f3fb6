//! Messages whose handler fails, until it does not, or somebody looks.

use std::time::Duration;

use idempotent_consumer::{Backoff, EventKind, HandlerError, Outcome, TestBroker};
use idempotent_testkit::faults::Op;
use tokio::time::{Instant, advance, sleep};

use crate::world::{LEASE, World, begin, crash, dead, is_acked, message, retried};

const SECOND: Duration = Duration::from_secs(1);

/// M18, M27: attempts with pauses between them, put aside, sent back, and handled.
#[tokio::test(start_paused = true)]
async fn a_poison_message_is_put_aside_and_handled_once_when_it_is_sent_back() {
    let world = World::new();
    let backoff = Backoff::new(SECOND, SECOND * 8);
    let consumer = world
        .builder()
        .max_attempts(5)
        .backoff(backoff)
        .build()
        .unwrap();
    let effects = world.effects.clone();
    let worker = world.handling(&consumer, |run| async move {
        if run <= 8 {
            return Err(HandlerError::retryable("the warehouse is closed"));
        }
        Ok(run)
    });
    world.broker.publish(message("1"));
    let began = Instant::now();
    worker
        .run(world.broker.source(), world.broker.idle())
        .await
        .unwrap();
    assert_eq!(effects.count(), 5);
    assert!(
        began.elapsed() <= SECOND * (1 + 2 + 4 + 8),
        "no pause after the last"
    );
    let letters = world.broker.dead_letters();
    assert_eq!(letters[0].reason.failures, 5);
    let error = letters[0].reason.error.as_deref();
    assert_eq!(error, Some("the warehouse is closed"));

    // A fresh budget: three more failures are no reason to put it aside again.
    assert_eq!(world.broker.redrive(), 1);
    worker
        .run(world.broker.source(), world.broker.idle())
        .await
        .unwrap();
    assert_eq!(effects.count(), 9);
    assert!(world.broker.dead_letters().is_empty());
    assert_eq!(world.broker.counts().acked, 1);
}

/// M29: what is no failure does not count as one.
#[tokio::test(start_paused = true)]
async fn deliveries_during_an_outage_or_another_attempt_cost_nothing() {
    let mut world = World::new();
    let consumer = world.builder().max_attempts(2).build().unwrap();
    let worker = world.counting(&consumer);
    world.broker.publish(message("1"));
    world.faults.on(Op::Claim).first(5 * 4).fail();
    for _ in 0..5 {
        let delivery = world.next().await;
        assert!(!retried(&worker.handle(delivery).await).1);
    }
    let slow = world.handling(&consumer, |_| std::future::pending());
    let delivery = world.next().await;
    let mut running = Box::pin(slow.process(&delivery));
    begin(&mut running).await;
    for _ in 0..5 {
        let processed = worker.process(&delivery).await;
        assert!(matches!(processed.outcome, Outcome::InProgress { .. }));
    }
    drop(running);
    world.engine.drained().await;
    assert!(is_acked(&worker.process(&delivery).await));
    assert_eq!(consumer.counts().of(EventKind::Failed), 0);
}

/// M29: what the broker has counted is a floor, if it counts nothing else.
#[tokio::test(start_paused = true)]
async fn the_failures_that_a_broker_has_counted_are_a_floor() {
    for counts_failures in [true, false] {
        let broker = TestBroker::new();
        let broker = if counts_failures {
            broker.counting_failures()
        } else {
            broker
        };
        let world = World::with(broker);
        world.broker.publish(message("1"));
        let backoff = Backoff::new(Duration::ZERO, Duration::ZERO);
        let failing = || {
            let consumer = world.builder().max_attempts(3).backoff(backoff).build();
            let failing = |_| async { Err(HandlerError::retryable("no")) };
            world.handling(&consumer.unwrap(), failing)
        };
        let mut source = world.broker.source();
        for round in 1..=3 {
            // The record is lost each time, and with it the count.
            let key = idempotent_core::Key::new(crate::world::SCOPE, "1").unwrap();
            idempotent_core::Inspect::delete(&world.store, &key)
                .await
                .unwrap();
            let delivery = idempotent_consumer::Source::next(&mut source).await;
            failing().handle(delivery.unwrap().unwrap()).await;
            let is_dead = !world.broker.dead_letters().is_empty();
            assert_eq!(is_dead, counts_failures && round == 3, "{round}");
        }
    }
}

/// M30.
#[tokio::test(start_paused = true)]
async fn an_error_may_know_better_when_to_try_again() {
    let mut world = World::new();
    let consumer = world.consumer();
    let failing = world.handling(&consumer, |_| async {
        Err(HandlerError::retryable("rate limited").after(SECOND * 77))
    });
    let delivery = world.delivery("1").await;
    let processed = failing.process(&delivery).await;
    assert_eq!(retried(&processed), (SECOND * 77, true));
}

/// M31.
#[tokio::test(start_paused = true)]
async fn a_message_that_takes_its_process_along_is_put_aside_in_the_end() {
    let mut world = World::new();
    let delivery = world.delivery("1").await;
    let consumer = || world.builder().max_attempts(3).build().unwrap();
    for _ in 0..3 {
        let deadly = world.handling(&consumer(), |_| std::future::pending());
        crash(deadly.process(&delivery)).await;
        advance(LEASE).await;
    }
    assert_eq!(world.effects.count(), 3);
    let processed = world.counting(&consumer()).process(&delivery).await;
    assert!(matches!(
        processed.outcome,
        Outcome::Exhausted { error: None, .. }
    ));
    assert_eq!(dead(&processed), "exhausted");
    assert_eq!(world.effects.count(), 3, "the handler did not run again");
    assert_eq!(
        world.failures("1").await,
        0,
        "a copy that is sent back begins anew"
    );
}

/// A handler that never ends is no better than one that fails.
#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_too_long_has_failed() {
    let mut world = World::new();
    let consumer = world.builder().handler_timeout(SECOND * 5).build().unwrap();
    let slow = world.handling(&consumer, |run| async move {
        sleep(SECOND * 6).await;
        Ok(run)
    });
    let delivery = world.delivery("1").await;
    let began = Instant::now();
    let processed = slow.process(&delivery).await;
    assert!(retried(&processed).1);
    assert_eq!(began.elapsed(), SECOND * 5);
    assert_eq!(world.failures("1").await, 1);
}
