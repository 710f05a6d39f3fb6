//! A store that fails while somebody waits for an attempt in progress, and one that does not listen
//! to how an attempt has ended.

use std::sync::Arc;
use std::time::Duration;

use idempotent_core::{
    Ending, Engine, EngineBuilder, Error, EventKind, OnAbandoned, OnConflict, State, StoreError,
};
use idempotent_testkit::faults::Op;
use tokio::time::{Instant, sleep};

use crate::world::{LEASE, World, named, settle};

const LIMIT: Duration = Duration::from_secs(10);

/// Waits behind an attempt of this process. Returns the error, and after how long it came.
async fn wait_in_vain(world: &World) -> (Error, Duration) {
    let owner = world.operation().run(async {
        sleep(LIMIT * 2).await;
        Ok::<_, Error>(world.effects.happen())
    });
    let waiter = async {
        sleep(Duration::from_secs(1)).await;
        let began = Instant::now();
        let operation = world.operation().on_conflict(OnConflict::Wait(LIMIT));
        let answer = operation.run(async { Ok::<u32, Error>(0) }).await;
        (answer.unwrap_err(), began.elapsed())
    };
    let (answer, end) = tokio::join!(owner, waiter);
    assert_eq!(answer.unwrap(), 1, "the owner was not disturbed");
    end
}

#[tokio::test(start_paused = true)]
async fn a_waiter_hears_at_once_of_a_failure_that_will_not_pass() {
    let world = World::new();
    let backend = || StoreError::Backend("no such table".into());
    world.faults.on(Op::Claim).from(3).fail_with(backend);
    let (error, waited) = wait_in_vain(&world).await;
    assert!(
        matches!(
            error,
            Error::Store {
                source: StoreError::Backend(_),
                ..
            }
        ),
        "{error:?}"
    );
    assert!(waited < Duration::from_secs(1), "{waited:?}");
}

/// Whether the attempt is still in progress, nobody knows.
#[tokio::test(start_paused = true)]
async fn a_waiter_whose_store_fails_to_the_end_is_told_of_the_store() {
    let world = World::new();
    world.faults.on(Op::Claim).from(3).fail();
    let (error, waited) = wait_in_vain(&world).await;
    assert!(matches!(error, Error::Store { .. }), "{error:?}");
    assert!(waited >= LIMIT, "{waited:?}");
}

/// The same, where the store's answer comes at the very end of the wait.
#[tokio::test(start_paused = true)]
async fn a_waiters_limit_ends_its_patience_with_the_store() {
    let world = World::new();
    let full = || StoreError::Full("no room".into());
    world.faults.on(Op::Claim).from(3).fail_with(full);
    let (error, waited) = wait_in_vain(&world).await;
    assert!(matches!(error, Error::Store { .. }), "{error:?}");
    assert_eq!(waited, LIMIT);
}

/// It runs anyway, so that there is nothing to wait for.
#[tokio::test(start_paused = true)]
async fn a_shadow_does_not_wait() {
    let world = World::with(EngineBuilder::shadow);
    let first = world.operation().run(async {
        sleep(LIMIT).await;
        Ok::<_, Error>(world.effects.happen())
    });
    let second = async {
        sleep(Duration::from_secs(1)).await;
        let began = Instant::now();
        assert_eq!(world.call().await.unwrap(), 1);
        assert_eq!(began.elapsed(), Duration::ZERO);
    };
    let (first, ()) = tokio::join!(first, second);
    assert_eq!(first.unwrap(), 2);
}

/// The grant came, and ran out, while its reply was lost; another caller came upon it. This caller
/// knows what the other could not: nothing has run.
#[tokio::test(start_paused = true)]
async fn a_callers_own_lost_grant_leaves_it_no_doubt() {
    let world = Arc::new(World::with(|engine| {
        engine.on_abandoned(OnAbandoned::InDoubt)
    }));
    world.faults.on(Op::Claim).nth(1).drop_reply();
    world.faults.on(Op::Claim).nth(2).delay(LEASE * 2);
    let call = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.call().await }
    });
    sleep(LEASE + LEASE / 2).await;
    let other = Engine::new(world.store.clone());
    let doubt = named(other.operation("test"))
        .on_abandoned(OnAbandoned::InDoubt)
        .run(async { Ok::<u32, Error>(0) });
    assert!(matches!(doubt.await, Err(Error::InDoubt)));
    assert_eq!(call.await.unwrap().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_the_store_did_not_hear_is_told_again() {
    let world = World::new();
    world.faults.on(Op::Release).nth(1).fail();
    fail(&world).await;
    settle().await;
    let record = world.record().await.unwrap();
    assert_eq!(
        (record.state, record.ending),
        (State::Released, Some(Ending::Error))
    );
    assert_eq!(world.faults.count(Op::Release), 2);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_the_store_refuses_is_told_once() {
    let world = World::new();
    let refused = || StoreError::Backend("read only".into());
    world.faults.on(Op::Release).fail_with(refused);
    fail(&world).await;
    settle().await;
    assert_eq!(world.faults.count(Op::Release), 1);
    assert_eq!(world.events.count(EventKind::StoreError), 1);
}

/// Runs an operation that returns an error, which is not recorded.
async fn fail(world: &World) {
    let body = async { Err::<u32, _>(Error::ResultUnavailable) };
    let answer = world.operation().run(body).await;
    assert!(matches!(answer, Err(Error::ResultUnavailable)));
}
