//! The decision table, a row at a time.

use std::time::Duration;

use idempotent_consumer::{
    Disposition, EventKind, HandlerError, Message, MessageId, Outcome, TestBroker,
};
use idempotent_core::{Ending, OnStoreFailure, State, StoreError};
use idempotent_testkit::faults::Op;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::time::{advance, sleep};

use crate::world::{LEASE, World, begin, crash, dead, is_acked, message, retried};

const SECOND: Duration = Duration::from_secs(1);

/// M11.
#[tokio::test(start_paused = true)]
async fn a_new_message_takes_effect_and_is_acknowledged() {
    let mut world = World::new();
    let consumer = world.consumer();
    let delivery = world.delivery("1").await;
    let processed = world.counting(&consumer).process(&delivery).await;
    assert!(matches!(processed.outcome, Outcome::Executed(1)));
    assert!(is_acked(&processed));
    assert_eq!(world.record("1").await.unwrap().state, State::Completed);
}

/// M12: a look is all that a duplicate costs.
#[tokio::test(start_paused = true)]
async fn a_message_that_has_taken_effect_is_acknowledged_and_nothing_is_written() {
    let mut world = World::new();
    let consumer = world.consumer();
    let worker = world.counting(&consumer);
    let first = world.delivery("1").await;
    worker.process(&first).await;
    let before = (world.faults.calls(), world.record("1").await);

    let again = world.delivery("1").await;
    let processed = worker.process(&again).await;
    assert!(matches!(processed.outcome, Outcome::Duplicate(Some(1))));
    assert!(is_acked(&processed));
    assert_eq!(world.faults.calls()[before.0.len()..], [Op::Claim]);
    assert_eq!(world.record("1").await, before.1);
    assert_eq!(world.effects.count(), 1);
}

/// M12: the reply to the first may have been lost.
#[tokio::test(start_paused = true)]
async fn a_hook_gets_the_result_of_a_duplicate_before_it_is_acknowledged() {
    let mut world = World::new();
    let consumer = world.consumer();
    let (broker, told) = (world.broker.clone(), std::sync::Arc::default());
    let sink: std::sync::Arc<std::sync::Mutex<Vec<_>>> = std::sync::Arc::clone(&told);
    let worker = world
        .counting(&consumer)
        .on_duplicate(move |message, value| {
            let acked = broker.counts().acked;
            sink.lock()
                .unwrap()
                .push((message.id.unwrap(), value, acked));
            async {}
        });
    for _ in 0..2 {
        let delivery = world.delivery("1").await;
        worker.handle(delivery).await;
    }
    let id = MessageId::Producer("1".to_owned());
    assert_eq!(*told.lock().unwrap(), [(id, Some(1), 1)]);
    assert_eq!(world.broker.counts().acked, 2);
}

/// M13.
#[tokio::test(start_paused = true)]
async fn another_message_with_the_id_is_put_aside_once_the_first_has_taken_effect() {
    let mut world = World::new();
    let consumer = world.consumer();
    let worker = world.counting(&consumer);
    let first = world.delivery("1").await;
    worker.process(&first).await;
    let before = world.record("1").await;

    let id = MessageId::Producer("1".to_owned());
    world.broker.publish(Message::new("coffee").with_id(id));
    let other = world.next().await;
    let processed = worker.process(&other).await;
    assert!(matches!(processed.outcome, Outcome::Mismatch));
    assert_eq!(dead(&processed), "mismatch");
    assert_eq!(world.record("1").await, before);
}

/// M13: in progress, too, and without waiting.
#[tokio::test(start_paused = true)]
async fn another_message_with_the_id_is_put_aside_while_the_first_is_handled() {
    let mut world = World::new();
    let consumer = world.consumer();
    let slow = world.handling(&consumer, |run| async move {
        sleep(SECOND * 10).await;
        Ok(run)
    });
    let first = world.delivery("1").await;
    let mut running = Box::pin(slow.process(&first));
    begin(&mut running).await;

    let id = MessageId::Producer("1".to_owned());
    world.broker.publish(Message::new("coffee").with_id(id));
    let other = world.next().await;
    assert_eq!(dead(&slow.process(&other).await), "mismatch");
    assert!(is_acked(&running.await));
}

/// M14: it waits a little, and then gets the same answer.
#[tokio::test(start_paused = true)]
async fn a_message_that_is_being_handled_is_waited_for() {
    let mut world = World::new();
    let consumer = world.consumer();
    let slow = world.handling(&consumer, |run| async move {
        sleep(SECOND).await;
        Ok(run)
    });
    let (first, second) = (world.delivery("1").await, world.delivery("1").await);
    let (first, second) = tokio::join!(slow.process(&first), slow.process(&second));
    assert!(matches!(first.outcome, Outcome::Executed(1)));
    assert!(matches!(second.outcome, Outcome::Duplicate(Some(1))));
    assert!(is_acked(&first) && is_acked(&second));
}

/// M14: it may still fail, so that it is not acknowledged; and nobody has failed.
#[tokio::test(start_paused = true)]
async fn a_message_that_is_handled_for_longer_comes_again_uncounted() {
    let mut world = World::new();
    let consumer = world.consumer();
    let slow = world.handling(&consumer, |run| async move {
        sleep(SECOND * 60).await;
        Ok(run)
    });
    let (first, second) = (world.delivery("1").await, world.delivery("1").await);
    let mut running = Box::pin(slow.process(&first));
    begin(&mut running).await;
    let processed = slow.process(&second).await;
    let Outcome::InProgress { retry_after } = processed.outcome else {
        panic!("{processed:?}")
    };
    let (after, counted) = retried(&processed);
    assert!(!counted);
    assert!(
        retry_after <= LEASE && retry_after + SECOND * 3 > LEASE,
        "{retry_after:?}"
    );
    assert!(
        after >= retry_after * 4 / 5 && after <= retry_after * 6 / 5,
        "{after:?}"
    );
    assert_eq!(world.failures("1").await, 0);
}

/// M14: of a long lease it waits for half a minute, give or take.
#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_half_a_minute_for_another() {
    let mut world = World::new();
    let consumer = world.builder().lease(SECOND * 3600).build().unwrap();
    let slow = world.handling(&consumer, |_| std::future::pending());
    let (first, second) = (world.delivery("1").await, world.delivery("1").await);
    let mut running = Box::pin(slow.process(&first));
    begin(&mut running).await;
    let (after, _) = retried(&slow.process(&second).await);
    assert!(after >= SECOND * 24 && after <= SECOND * 36, "{after:?}");
}

/// M15.
#[tokio::test(start_paused = true)]
async fn a_message_whose_consumer_has_died_is_taken_over() {
    let mut world = World::new();
    let consumer = world.consumer();
    let hanging = world.handling(&consumer, |_| std::future::pending());
    let first = world.delivery("1").await;
    crash(hanging.process(&first)).await;
    let fence = world.record("1").await.unwrap().fence;
    advance(LEASE).await;

    let processed = world.counting(&consumer).process(&first).await;
    assert!(matches!(processed.outcome, Outcome::Executed(2)));
    assert!(is_acked(&processed));
    assert_eq!(consumer.counts().of(EventKind::Takeover), 1);
    let record = world.record("1").await.unwrap();
    assert!(record.fence > fence && record.attempt == 2, "{record:?}");
}

/// M16.
#[tokio::test(start_paused = true)]
async fn a_failure_is_counted_and_the_message_comes_again_later() {
    let mut world = World::new();
    let consumer = world.consumer();
    let failing = world.handling(&consumer, |_| async { Err(HandlerError::retryable("no")) });
    let delivery = world.delivery("1").await;
    for failures in 1..5 {
        let processed = failing.process(&delivery).await;
        assert!(matches!(
            processed.outcome,
            Outcome::Failed { attempt, permanent: false, .. } if attempt == failures
        ));
        let (after, counted) = retried(&processed);
        assert!(
            counted && after <= SECOND * 2_u32.pow(failures - 1),
            "{after:?}"
        );
        let record = world.record("1").await.unwrap();
        assert_eq!((record.state, record.failures), (State::Released, failures));
    }
    let processed = world.counting(&consumer).process(&delivery).await;
    assert!(matches!(processed.outcome, Outcome::Executed(5)));
}

/// M17.
#[tokio::test(start_paused = true)]
async fn a_permanent_failure_is_put_aside_at_once() {
    let mut world = World::new();
    let consumer = world.consumer();
    let failing = world.handling(&consumer, |_| async {
        Err(HandlerError::permanent("never"))
    });
    let delivery = world.delivery("1").await;
    let processed = failing.process(&delivery).await;
    assert!(matches!(
        processed.outcome,
        Outcome::Failed {
            permanent: true,
            ..
        }
    ));
    let Disposition::DeadLetter(reason) = processed.disposition else {
        panic!("not put aside")
    };
    assert_eq!(reason.kind.name(), "permanent");
    assert_eq!(
        (reason.failures, reason.error.as_deref()),
        (1, Some("never"))
    );
    assert_eq!(world.record("1").await.unwrap().state, State::Released);
}

/// M18.
#[tokio::test(start_paused = true)]
async fn a_message_that_has_failed_too_often_is_put_aside_with_a_fresh_count() {
    let mut world = World::new();
    let consumer = world.builder().max_attempts(3).build().unwrap();
    let failing = world.handling(&consumer, |_| async { Err(HandlerError::retryable("no")) });
    let delivery = world.delivery("1").await;
    for _ in 0..2 {
        assert!(retried(&failing.process(&delivery).await).1);
    }
    let processed = failing.process(&delivery).await;
    assert!(matches!(
        processed.outcome,
        Outcome::Exhausted {
            attempt: 3,
            error: Some(_)
        }
    ));
    assert_eq!(dead(&processed), "exhausted");
    let record = world.record("1").await.unwrap();
    assert_eq!((record.state, record.failures), (State::Released, 0));
}

/// M19.
#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_and_says_why() {
    let mut world = World::new();
    let consumer = world.consumer();
    let panicking = world.handling(&consumer, |run| async move {
        assert!(run > 1, "a bug of the handler's");
        Ok(run)
    });
    let delivery = world.delivery("1").await;
    let processed = panicking.process(&delivery).await;
    assert!(retried(&processed).1);
    let Outcome::Failed { error, .. } = processed.outcome else {
        panic!("not a failure")
    };
    assert!(
        error.to_string().contains("a bug of the handler's"),
        "{error}"
    );
    assert_eq!(world.failures("1").await, 1);
    assert!(is_acked(&panicking.process(&delivery).await));
}

/// M20.
#[tokio::test(start_paused = true)]
async fn a_handler_that_is_dropped_gives_its_claim_up_and_has_not_failed() {
    let mut world = World::new();
    let consumer = world.consumer();
    let hanging = world.handling(&consumer, |_| std::future::pending());
    let delivery = world.delivery("1").await;
    let mut running = Box::pin(hanging.process(&delivery));
    begin(&mut running).await;
    drop(running);
    world.engine.drained().await;

    let record = world.record("1").await.unwrap();
    assert_eq!((record.state, record.failures), (State::Released, 0));
    assert_eq!(record.ending, Some(Ending::Cancelled));
    assert!(is_acked(
        &world.counting(&consumer).process(&delivery).await
    ));
}

/// M21.
#[tokio::test(start_paused = true)]
async fn nothing_is_handled_without_the_store() {
    let mut world = World::new();
    let consumer = world.consumer();
    let worker = world.counting(&consumer);
    let delivery = world.delivery("1").await;
    world.faults.on(Op::Claim).fail();
    let processed = worker.process(&delivery).await;
    assert!(matches!(
        processed.outcome,
        Outcome::StoreUnavailable {
            executed: false,
            ..
        }
    ));
    assert!(!retried(&processed).1);
    assert_eq!(world.effects.count(), 0);
}

/// M21: unless somebody has asked for it.
#[tokio::test(start_paused = true)]
async fn a_message_is_handled_without_the_store_on_request() {
    let mut world = World::new();
    let on_store_failure = OnStoreFailure::RunUnprotected;
    let consumer = world.builder().on_store_failure(on_store_failure).build();
    let worker = world.counting(&consumer.unwrap());
    let delivery = world.delivery("1").await;
    world.faults.on(Op::Claim).fail();
    let processed = worker.process(&delivery).await;
    assert!(matches!(processed.outcome, Outcome::Executed(1)));
    assert!(is_acked(&processed));
}

/// M22.
#[tokio::test(start_paused = true)]
async fn a_result_that_the_store_does_not_take_is_not_acknowledged() {
    let mut world = World::new();
    let consumer = world.consumer();
    let worker = world.counting(&consumer);
    let delivery = world.delivery("1").await;
    world.faults.on(Op::Complete).fail();
    let processed = worker.process(&delivery).await;
    assert!(matches!(
        processed.outcome,
        Outcome::StoreUnavailable { executed: true, .. }
    ));
    assert!(!retried(&processed).1);
    assert_eq!(world.record("1").await.unwrap().state, State::InProgress);

    // It is still being recorded, and when it is, the message is a duplicate.
    world.faults.clear();
    world.engine.drained().await;
    let again = worker.process(&delivery).await;
    assert!(matches!(again.outcome, Outcome::Duplicate(Some(1))));
    assert_eq!(world.effects.count(), 1);
}

/// M22: the store is down for a moment, and the lease is held meanwhile.
#[tokio::test(start_paused = true)]
async fn a_completion_is_tried_again() {
    let mut world = World::new();
    let consumer = world.consumer();
    let worker = world.counting(&consumer);
    let delivery = world.delivery("1").await;
    world.faults.on(Op::Complete).first(3).fail();
    assert!(is_acked(&worker.process(&delivery).await));
    assert!(world.faults.count(Op::Renew) > 0);
}

/// M23.
#[tokio::test(start_paused = true)]
async fn a_message_that_another_has_taken_over_is_not_acknowledged() {
    let mut world = World::new();
    let consumer = world.consumer();
    let worker = world.counting(&consumer);
    let delivery = world.delivery("1").await;
    world.faults.on(Op::Complete).nth(1).lose_lease();
    let processed = worker.process(&delivery).await;
    assert!(
        matches!(processed.outcome, Outcome::LeaseLost),
        "{processed:?}"
    );
    assert!(!retried(&processed).1);
    assert_eq!(consumer.counts().of(EventKind::LeaseLost), 1);
}

/// M23: a failure of a late attempt is nobody's.
#[tokio::test(start_paused = true)]
async fn a_failure_after_the_lease_was_lost_does_not_count() {
    let mut world = World::new();
    let consumer = world.consumer();
    let slow = world.handling(&consumer, |_| async {
        sleep(LEASE).await;
        Err(HandlerError::retryable("too late"))
    });
    let delivery = world.delivery("1").await;
    world.faults.on(Op::Renew).nth(1).lose_lease();
    let processed = slow.process(&delivery).await;
    assert!(
        matches!(processed.outcome, Outcome::LeaseLost),
        "{processed:?}"
    );
    assert!(!retried(&processed).1);
    assert_eq!(
        world.failures("1").await,
        1,
        "its silence is one, and its error none"
    );
}

#[derive(Debug)]
struct Opaque;

impl Serialize for Opaque {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("it cannot be written"))
    }
}

impl<'de> Deserialize<'de> for Opaque {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom("it cannot be read"))
    }
}

/// M24: the effect has happened, and must not happen again.
#[tokio::test(start_paused = true)]
async fn a_result_that_cannot_be_kept_is_acknowledged_and_never_handled_again() {
    let mut world = World::new();
    let consumer = world.consumer();
    let effects = world.effects.clone();
    let worker = consumer.leased(move |_, _| {
        effects.happen();
        async { Ok(Opaque) }
    });
    let delivery = world.delivery("1").await;
    let processed = worker.process(&delivery).await;
    assert!(matches!(processed.outcome, Outcome::Unencodable));
    assert!(is_acked(&processed));
    let again = worker.process(&delivery).await;
    assert!(matches!(again.outcome, Outcome::Duplicate(None)));
    assert!(is_acked(&again));
    assert_eq!(world.effects.count(), 1);
}

/// M25: a record that cannot be read cannot be counted in.
#[tokio::test(start_paused = true)]
async fn a_message_whose_record_cannot_be_read_is_put_aside_after_a_while() {
    // The hint does not help: this broker does not say how often it has delivered.
    let mut world = World::with(TestBroker::new().counting_failures());
    let consumer = world.builder().max_attempts(3).build().unwrap();
    let worker = world.counting(&consumer);
    let delivery = world.delivery("1").await;
    let corrupt = || StoreError::Corrupt("not a record".into());
    world.faults.on(Op::Claim).fail_with(corrupt);
    for _ in 0..2 {
        let processed = worker.process(&delivery).await;
        assert!(matches!(processed.outcome, Outcome::Corrupt(_)));
        assert!(!retried(&processed).1);
    }
    assert_eq!(dead(&worker.process(&delivery).await), "corrupt");
    assert_eq!(world.effects.count(), 0);
}

/// M25: a newer version's record, by what the broker has counted.
#[tokio::test(start_paused = true)]
async fn a_message_whose_record_is_newer_is_put_aside_after_a_while() {
    let mut world = World::new();
    let consumer = world.builder().max_attempts(3).build().unwrap();
    let newer = || StoreError::Incompatible {
        format: "idr9".to_owned(),
    };
    world.faults.on(Op::Claim).fail_with(newer);
    world.broker.publish(message("1"));
    for round in 1..=3 {
        // Another process each time, which remembers nothing.
        let worker = world.counting(&world.builder().max_attempts(3).build().unwrap());
        let delivery = world.next().await;
        worker.handle(delivery).await;
        assert_eq!(world.broker.dead_letters().len(), usize::from(round == 3));
    }
    drop(consumer);
}

/// M26: two of one batch, at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_id_that_comes_twice_in_a_batch_takes_effect_once() {
    let mut world = World::new();
    let consumer = world.consumer();
    let worker = world.counting(&consumer);
    for batch in 0..50 {
        let id = batch.to_string();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..2 {
            let (worker, delivery) = (worker.clone(), world.delivery(&id).await);
            tasks.spawn(async move { worker.handle(delivery).await });
        }
        let processed = tasks.join_all().await;
        assert!(processed.iter().all(is_acked));
        assert_eq!(world.effects.count(), batch + 1);
    }
}
