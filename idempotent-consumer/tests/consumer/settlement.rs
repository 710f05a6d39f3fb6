//! What happens when the broker does not hear.

use idempotent_consumer::{EventKind, HandlerError, Outcome, TestBroker};
use idempotent_core::State;

use crate::world::{World, is_acked, message};

/// M7: the process dies between the record and the acknowledgement.
#[tokio::test(start_paused = true)]
async fn a_delivery_that_was_recorded_and_not_acknowledged_is_a_duplicate() {
    let mut world = World::new();
    let worker = world.counting(&world.consumer());
    let delivery = world.delivery("1").await;
    let processed = worker.process(&delivery).await;
    assert!(matches!(processed.outcome, Outcome::Executed(1)));
    assert_eq!(world.record("1").await.unwrap().state, State::Completed);
    assert_eq!(world.broker.counts().acked, 0, "the record comes first");
    assert!(world.broker.cut_one_off());

    worker
        .run(world.broker.source(), world.broker.idle())
        .await
        .unwrap();
    assert_eq!((world.effects.count(), world.broker.counts().acked), (1, 1));
}

/// M38.
#[tokio::test(start_paused = true)]
async fn an_acknowledgement_that_was_lost_is_no_failure_of_the_handler() {
    let world = World::with(TestBroker::new().losing_acks(60));
    let consumer = world.consumer();
    let worker = world.counting(&consumer);
    for number in 0..20 {
        world.broker.publish(message(&number.to_string()));
    }
    worker
        .run(world.broker.source(), world.broker.idle())
        .await
        .unwrap();
    let lost = world.broker.counts().lost_acks;
    assert!(lost > 10, "{lost}");
    assert_eq!(world.effects.count(), 20);
    assert_eq!(consumer.counts().of(EventKind::SettleError), lost);
    assert_eq!(consumer.counts().of(EventKind::Duplicate), lost);
    assert_eq!(consumer.counts().of(EventKind::Failed), 0);
}

/// M39: a second settlement would close an AMQP channel.
#[tokio::test(start_paused = true)]
async fn a_retry_and_a_dead_letter_that_were_lost_are_left_at_that() {
    let mut world = World::new();
    let consumer = world.consumer();
    for (id, times, error) in [
        ("1", 1, HandlerError::retryable as fn(&'static str) -> _),
        ("2", 2, HandlerError::permanent),
    ] {
        let failing = world.handling(&consumer, move |_| async move { Err(error("no")) });
        let delivery = world.delivery(id).await;
        assert!(world.broker.cut_one_off());
        assert!(!is_acked(&failing.handle(delivery).await));
        assert_eq!(consumer.counts().of(EventKind::SettleError), times);
        // The broker has it back, and nothing else has happened to it.
        world.source = world.broker.source();
        let again = world.next().await;
        assert!(world.broker.dead_letters().is_empty());
        let worker = world.counting(&world.consumer());
        assert!(is_acked(&worker.handle(again).await));
    }
}
