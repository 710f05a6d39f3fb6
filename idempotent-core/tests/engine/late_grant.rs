//! A grant that comes when its lease is over: the body must not begin on its strength.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use idempotent_core::{
    Ending, Engine, Error, OnAbandoned, OnStoreFailure, Outcome, Provenance, State, StoreError,
    Verdict,
};
use idempotent_testkit::faults::Op;
use tokio::time::{advance, sleep};

use crate::world::{LEASE, MOMENT, World, frozen_until, named, settle};

/// From this moment on, an owner cannot count on its lease.
const UNSAFE: Duration = Duration::from_secs(27);

/// Whoever asks is told the truth of that moment: not yet.
async fn not_yet() -> Verdict<u32> {
    Verdict::NotExecuted
}

#[tokio::test(start_paused = true)]
async fn a_late_grant_is_renewed_before_the_body_begins() {
    let world = World::new();
    world.faults.on(Op::Claim).delay_reply(LEASE * 2);
    let answer = world.operation().run_with(async |attempt| {
        world.effects.happen();
        Ok::<_, Error>((attempt.number(), attempt.is_lease_lost()))
    });
    assert_eq!(answer.await.unwrap(), (1, false));
    assert_eq!(
        world.faults.calls(),
        [Op::Claim, Op::Renew, Op::Complete],
        "{:?}",
        world.faults
    );
}

/// C11: the owner's clock may run a little slower than the store's.
#[tokio::test(start_paused = true)]
async fn a_grant_is_late_before_its_lease_is_over() {
    for (delay, renewals) in [(UNSAFE.saturating_sub(MOMENT), 0), (UNSAFE, 1)] {
        let world = World::new();
        world.faults.on(Op::Claim).delay_reply(delay);
        assert_eq!(world.call().await.unwrap(), 1);
        assert_eq!(world.faults.count(Op::Renew), renewals, "{delay:?}");
    }
}

/// Both callers are right to begin, by what each has been told; only one may.
#[tokio::test(start_paused = true)]
async fn a_late_grant_that_was_taken_over_does_not_run_its_body() {
    let world = Arc::new(World::new());
    world.faults.on(Op::Claim).nth(1).delay_reply(LEASE * 2);
    let late = tokio::spawn({
        let world = Arc::clone(&world);
        async move { verified(&world).await }
    });
    sleep(LEASE + LEASE / 2).await;
    // Another process: this one's callers wait for each other.
    let other = Engine::new(world.store.clone());
    let effects = world.effects.clone();
    let answer = named(other.operation("test"))
        .run_verified(not_yet, async move { Ok::<_, Error>(effects.happen()) });
    assert_eq!(answer.await.unwrap(), 1);
    assert_eq!(late.await.unwrap().unwrap(), 1);
    assert_eq!(world.effects.count(), 1);
}

/// The other caller has come upon the silent grant, and does not know what became of it. This one
/// does: nothing.
#[tokio::test(start_paused = true)]
async fn a_late_grant_that_is_in_doubt_by_now_settles_the_doubt() {
    let world = Arc::new(World::new());
    world.faults.on(Op::Claim).nth(1).delay_reply(LEASE * 2);
    let late = tokio::spawn({
        let world = Arc::clone(&world);
        async move {
            let operation = world.operation().on_abandoned(OnAbandoned::InDoubt);
            let effects = world.effects.clone();
            operation
                .run_with(async move |attempt| {
                    effects.happen();
                    Ok::<_, Error>(attempt.number())
                })
                .await
        }
    });
    sleep(LEASE + LEASE / 2).await;
    let other = Engine::new(world.store.clone());
    let doubt = named(other.operation("test"))
        .on_abandoned(OnAbandoned::InDoubt)
        .run(async { Ok::<u32, Error>(0) });
    assert!(matches!(doubt.await, Err(Error::InDoubt)));
    assert_eq!(late.await.unwrap().unwrap(), 1, "nothing had run");
    assert_eq!(world.effects.count(), 1);
    assert_eq!(world.record().await.unwrap().state, State::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_slower_than_the_lease_fails_the_call_and_frees_the_key() {
    let world = World::new();
    world.faults.on(Op::Claim).delay_reply(LEASE);
    world.faults.on(Op::Renew).delay_reply(LEASE);
    let error = world.call().await.unwrap_err();
    let unavailable = matches!(
        &error,
        Error::Store {
            source: StoreError::Unavailable(_),
            ..
        }
    );
    assert!(unavailable && error.is_retryable(), "{error:?}");
    assert_eq!(world.effects.count(), 0);
    settle().await;
    let record = world.record().await.unwrap();
    assert_eq!(
        (record.state, record.ending),
        (State::Released, Some(Ending::Clean))
    );
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_slower_than_the_lease_may_be_done_without() {
    let world = World::with(|engine| engine.on_store_failure(OnStoreFailure::RunUnprotected));
    world.faults.on(Op::Claim).delay_reply(LEASE);
    world.faults.on(Op::Renew).delay_reply(LEASE);
    let body = async { Ok::<_, Error>(Outcome::new(world.effects.happen())) };
    let outcome = world.operation().run(body).await.unwrap();
    assert_eq!(outcome.provenance(), Provenance::Unprotected);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_comes_as_late_as_the_grant_is_worth_no_more() {
    for (delay, effects) in [(UNSAFE.saturating_sub(MOMENT), 1), (UNSAFE, 0)] {
        let world = World::new();
        world.faults.on(Op::Claim).delay_reply(LEASE);
        world.faults.on(Op::Renew).delay_reply(delay);
        let answer = world.call().await;
        assert_eq!(answer.is_ok(), effects == 1, "{answer:?}");
        assert_eq!(world.effects.count(), effects);
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_before_the_body_fails_the_call() {
    let world = World::new();
    world.faults.on(Op::Claim).delay_reply(LEASE);
    world.faults.on(Op::Renew).fail();
    assert!(matches!(world.call().await, Err(Error::Store { .. })));
    assert_eq!(world.effects.count(), 0);
}

/// The answer was in time, and its caller was not: it stood still before it read it.
#[tokio::test(start_paused = true)]
async fn a_grant_that_is_read_late_is_a_late_grant() {
    let world = Arc::new(World::new());
    world.faults.on(Op::Claim).nth(1).delay_reply(MOMENT);
    let (thaw, thawed) = tokio::sync::oneshot::channel();
    let late = tokio::spawn({
        let world = Arc::clone(&world);
        async move { frozen_until(thawed, verified(&world)).await }
    });
    sleep(LEASE * 2).await;
    let other = Engine::new(world.store.clone());
    let effects = world.effects.clone();
    let answer = named(other.operation("test"))
        .run_verified(not_yet, async move { Ok::<_, Error>(effects.happen()) });
    assert_eq!(answer.await.unwrap(), 1);
    thaw.send(()).unwrap();
    assert_eq!(late.await.unwrap().unwrap(), 1);
    assert_eq!(world.effects.count(), 1);
}

/// On a busy runtime a detached task may begin when its lease is over.
#[tokio::test(start_paused = true)]
async fn a_detached_task_that_begins_late_does_not_run_its_body_beside_another() {
    let world = World::new();
    let late = {
        let effects = world.effects.clone();
        world.operation().run_detached(async move {
            effects.happen();
            Ok::<_, Error>(0)
        })
    };
    let busy = async {
        // One poll moves the clock. To wait for it would let the task run.
        poll_fn(|cx| Poll::Ready(pin!(advance(LEASE * 2)).poll(cx).is_ready())).await;
        let other = Engine::new(world.store.clone());
        let body = async { Ok::<_, Error>(world.effects.happen()) };
        named(other.operation("test")).run(body).await
    };
    let (late, other) = tokio::join!(late, busy);
    assert_eq!(other.unwrap(), 1);
    assert!(matches!(late, Err(Error::InProgress { .. })), "{late:?}");
    assert_eq!(world.effects.count(), 1);
}

async fn verified(world: &World) -> Result<u32, Error> {
    let effects = world.effects.clone();
    world
        .operation()
        .run_verified(not_yet, async move { Ok(effects.happen()) })
        .await
}
