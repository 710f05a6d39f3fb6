//! A store that fails after the body has succeeded: the effect is not forgotten.

use std::sync::Arc;
use std::time::Duration;

use idempotent_core::protocol::Completion;
use idempotent_core::{
    CodecId, Ending, Error, EventKind, OnUnrecorded, Outcome, Payload, Provenance, State,
    StoreError,
};
use idempotent_testkit::faults::Op;
use tokio::time::{Instant, sleep};

use crate::world::{World, settle};

#[tokio::test(start_paused = true)]
async fn a_result_that_the_store_does_not_take_is_an_error_that_carries_it() {
    let world = World::new();
    world.faults.on(Op::Complete).fail();
    let began = Instant::now();
    let error = world.call().await.unwrap_err();
    let Error::Unrecorded {
        store: "memory",
        value,
        ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!(value.bytes(), b"1");
    assert_eq!(value.codec(), CodecId::JSON);
    let waited = began.elapsed();
    assert!(
        waited > Duration::from_secs(5) && waited <= Duration::from_secs(10),
        "{waited:?}"
    );
    assert_eq!(world.events.count(EventKind::Unrecorded), 1);
    assert_eq!(
        world.record().await.unwrap().state,
        State::InProgress,
        "never released"
    );
}

/// Long after the caller has gone, and longer than the lease.
#[tokio::test(start_paused = true)]
async fn it_is_recorded_in_the_background_as_soon_as_the_store_is_back() {
    let world = World::new();
    world.faults.on(Op::Complete).fail();
    assert!(world.call().await.is_err());
    sleep(Duration::from_secs(600)).await;
    let waiter = async {
        sleep(Duration::from_secs(1)).await;
        world.faults.clear();
    };
    let (answer, ()) = tokio::join!(world.call(), waiter);
    assert_eq!(answer.unwrap(), 1, "the retry waited for it");
    assert_eq!(world.effects.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_says_that_it_is_unrecorded() {
    let world = World::new();
    world.faults.on(Op::Complete).fail();
    let body = async { Ok::<_, Error>(Outcome::new(world.effects.happen())) };
    let outcome = world.operation().run(body).await.unwrap();
    assert_eq!(
        (outcome.provenance(), outcome.into_value()),
        (Provenance::Unrecorded, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn on_unrecorded_return_gives_the_plain_value() {
    let world = World::with(|engine| engine.on_unrecorded(OnUnrecorded::Return));
    world.faults.on(Op::Complete).fail();
    assert_eq!(world.call().await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_completion_whose_reply_was_lost_counts_once() {
    let world = World::new();
    world.faults.on(Op::Complete).nth(1).drop_reply();
    let body = async { Ok::<_, Error>(Outcome::new(world.effects.happen())) };
    assert!(world.operation().run(body).await.unwrap().is_executed());
    assert_eq!(world.events.count(EventKind::DoubleExecution), 0);
    assert_eq!(world.record().await.unwrap().late, 0);
}

/// The store is reachable, but refuses this result for good: that it finished must still be kept.
#[tokio::test(start_paused = true)]
async fn a_result_that_the_store_refuses_for_good_is_kept_as_a_fact() {
    let world = World::new();
    world
        .faults
        .on(Op::Complete)
        .nth(1)
        .fail_with(|| StoreError::Backend("too long".into()));
    let body = async { Ok::<_, Error>(Outcome::new(world.effects.happen())) };
    let outcome = world.operation().run(body).await.unwrap();
    assert_eq!(
        outcome.provenance(),
        Provenance::Executed {
            attempt: 1,
            kept: false
        }
    );
    assert!(matches!(world.call().await, Err(Error::ResultUnavailable)));
    assert_eq!(world.effects.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_even_the_fact_is_not_asked_for_ever() {
    let world = World::new();
    let refused = || StoreError::Backend("read only".into());
    let for_ever = || panic!("asked again and again");
    world.faults.on(Op::Complete).from(3).run(for_ever);
    world.faults.on(Op::Complete).fail_with(refused);
    let error = world.call().await.unwrap_err();
    let Error::Unrecorded { value, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(value.bytes(), b"1");
    assert_eq!(world.faults.count(Op::Complete), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lease_lost_to_a_finished_attempt_gives_that_attempts_result() {
    let world = World::new();
    let payload = Payload {
        codec: CodecId::JSON,
        bytes: "77".into(),
    };
    let completion = Completion::value(payload, Duration::from_secs(60));
    world
        .faults
        .on(Op::Complete)
        .nth(1)
        .lose_lease_to(completion);
    assert_eq!(world.call().await.unwrap(), 77);
    assert_eq!(world.events.count(EventKind::DoubleExecution), 1);
}

/// Dropped after the body has finished: the result is recorded all the same.
#[tokio::test(start_paused = true)]
async fn a_call_dropped_while_it_records_is_recorded() {
    for reply in [false, true] {
        let world = World::new();
        let gate = if reply {
            world.faults.on(Op::Complete).stop_reply()
        } else {
            world.faults.on(Op::Complete).stop()
        };
        tokio::select! {
            biased;
            () = async { gate.reached().await } => {}
            answer = world.call() => panic!("{answer:?}"),
        }
        gate.open();
        settle().await;
        assert_eq!(world.call().await.unwrap(), 1);
        assert_eq!(world.effects.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_whose_release_is_lost_frees_the_key_all_the_same() {
    let world = World::new();
    world.faults.on(Op::Release).nth(1).drop_reply();
    let failing = async { Err::<u32, _>(Error::ResultUnavailable) };
    assert!(world.operation().run(failing).await.is_err());
    let record = world.record().await.unwrap();
    assert_eq!(
        (record.state, record.ending),
        (State::Released, Some(Ending::Error))
    );
    assert_eq!(record.failures, 1);
}

/// A crash of the store between claim and completion that lost the record.
#[tokio::test(start_paused = true)]
async fn a_record_that_the_store_lost_is_written_anew_by_its_completion() {
    let world = Arc::new(World::new());
    let answer = world.operation().run(async {
        let lost = world.record().await.unwrap();
        assert_eq!(lost.state, State::InProgress);
        sleep(Duration::from_secs(1)).await;
        forget(&world).await;
        Ok::<_, Error>(Outcome::new(world.effects.happen()))
    });
    assert!(answer.await.unwrap().is_executed());
    assert_eq!(world.call().await.unwrap(), 1);
    let record = world.record().await.unwrap();
    assert_eq!(record.previous, Some(Ending::Healed));
}

/// Removes the record as a store does that loses it; an operator may not, while it is held.
async fn forget(world: &World) {
    use idempotent_core::{Deletion, Inspect};

    use crate::world::key;

    let record = world.record().await.unwrap();
    let release = idempotent_core::protocol::Release::new(
        Ending::Error,
        idempotent_core::protocol::ReleaseMode::Free,
    );
    let holder = idempotent_core::protocol::Holder {
        owner: record.owner,
        fence: None,
    };
    idempotent_core::Store::release(&world.store, &key(), &holder, release)
        .await
        .unwrap();
    assert_eq!(world.store.delete(&key()).await.unwrap(), Deletion::Deleted);
}
