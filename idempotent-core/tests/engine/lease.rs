//! A lease that is renewed, and one that is lost.

use std::sync::Arc;
use std::time::Duration;

use idempotent_core::protocol::ClaimRequest;
use idempotent_core::{
    Ending, Error, EventKind, Fingerprint, OnConflict, Outcome, Owner, State, Store,
};
use idempotent_testkit::faults::Op;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{advance, sleep};

use crate::world::{LEASE, World, frozen_until, key, settle};

/// An operation that stands still once its body has begun, until it is thawed.
fn frozen(world: &Arc<World>) -> (oneshot::Sender<()>, JoinHandle<Result<Outcome<u32>, Error>>) {
    let (thaw, thawed) = oneshot::channel();
    let world = Arc::clone(world);
    let owner = tokio::spawn(async move {
        let body = async {
            tokio::task::yield_now().await;
            Ok(Outcome::new(world.effects.happen() * 100))
        };
        frozen_until(thawed, world.operation().run(body)).await
    });
    (thaw, owner)
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_renewed_for_as_long_as_the_body_runs() {
    let world = World::new();
    let owner = world.operation().run(async {
        sleep(LEASE * 10).await;
        Ok::<_, Error>(world.effects.happen())
    });
    let others = async {
        for _ in 0..20 {
            sleep(LEASE / 3 + Duration::from_secs(1)).await;
            let operation = world.operation().on_conflict(OnConflict::Fail);
            let error = operation
                .run(async { Ok::<u32, Error>(0) })
                .await
                .unwrap_err();
            let retry_after = error.retry_after().unwrap();
            assert!(retry_after >= LEASE / 2, "{retry_after:?}");
        }
    };
    let (answer, ()) = tokio::join!(owner, others);
    assert_eq!(answer.unwrap(), 1);
    assert_eq!(world.events.count(EventKind::LeaseLost), 0);
}

/// C7: nobody may have taken over, and then it is its owner's still.
#[tokio::test(start_paused = true)]
async fn a_lost_lease_is_renewed_as_soon_as_the_store_allows_and_not_in_a_rush() {
    let world = World::new();
    let rush = || panic!("renewed again and again, without a pause");
    world.faults.on(Op::Renew).from(40).run(rush);
    world.faults.on(Op::Renew).first(20).fail();
    world.faults.on(Op::Renew).delay(Duration::from_secs(5));
    let body = async |attempt: idempotent_core::Attempt| {
        attempt.lease_lost().await;
        sleep(LEASE).await;
        let record = world.record().await.unwrap();
        sleep(LEASE).await;
        Ok::<_, Error>(record.fence == attempt.fence().unwrap())
    };
    assert!(world.operation().run_with(body).await.unwrap());
    let renewals = world.faults.count(Op::Renew);
    assert!((21..30).contains(&renewals), "{renewals}");
}

/// However short the lease is, there is time for another try.
#[tokio::test(start_paused = true)]
async fn a_short_lease_outlives_a_renewal_that_fails() {
    let second = Duration::from_secs(1);
    let world = World::with(|engine| engine.lease(second));
    world.faults.on(Op::Renew).nth(1).fail();
    let owner = world.operation().run(async {
        sleep(second * 2).await;
        Ok::<_, Error>(world.effects.happen())
    });
    let other = async {
        sleep(second + second / 10).await;
        let operation = world.operation().on_conflict(OnConflict::Fail);
        operation.run(async { Ok::<u32, Error>(0) }).await
    };
    let (answer, conflict) = tokio::join!(owner, other);
    assert_eq!(answer.unwrap(), 1);
    assert!(matches!(conflict, Err(Error::InProgress { .. })));
    assert_eq!(world.events.count(EventKind::LeaseLost), 0);
}

/// A renewal lives in the call's own future, so it cannot outlive it.
#[tokio::test(start_paused = true)]
async fn nothing_renews_the_lease_of_a_call_that_is_gone() {
    let world = Arc::new(World::new());
    let owner = tokio::spawn({
        let world = Arc::clone(&world);
        async move {
            world
                .operation()
                .run(std::future::pending::<Result<(), Error>>())
                .await
        }
    });
    sleep(LEASE * 2).await;
    let held = world.record().await.unwrap();
    owner.abort();
    sleep(LEASE * 2).await;
    let record = world.record().await.unwrap();
    assert_eq!(record.expires_at, held.expires_at);
    assert_eq!(record.state, State::InProgress);
}

#[tokio::test(start_paused = true)]
async fn a_late_owner_gets_the_winners_result_and_its_own_changes_nothing() {
    let world = Arc::new(World::new());
    let (thaw, late) = frozen(&world);
    settle().await;
    advance(LEASE).await;
    assert_eq!(world.call().await.unwrap(), 1, "taken over");
    let record = world.record().await.unwrap();

    thaw.send(()).unwrap();
    let late = late.await.unwrap().unwrap();
    assert!(late.is_replayed());
    assert_eq!(*late.value(), 1, "not its own, which is 200");
    assert_eq!(
        world.effects.count(),
        2,
        "it happened twice, and that was seen"
    );
    assert_eq!(world.events.count(EventKind::DoubleExecution), 1);
    let after = world.record().await.unwrap();
    assert_eq!(after.late, 1);
    assert_eq!((after.result, after.fence), (record.result, record.fence));
}

#[tokio::test(start_paused = true)]
async fn a_late_owner_waits_for_a_winner_that_still_runs() {
    let world = Arc::new(World::new());
    let (thaw, late) = frozen(&world);
    settle().await;
    advance(LEASE).await;
    let winner = world.operation().run(async {
        thaw.send(()).unwrap();
        sleep(Duration::from_secs(5)).await;
        Ok::<_, Error>(7)
    });
    let (winner, late) = tokio::join!(winner, late);
    assert_eq!(winner.unwrap(), 7);
    assert_eq!(late.unwrap().unwrap().into_value(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_late_owner_without_a_winner_gets_its_own_value_as_an_error() {
    let world = Arc::new(World::new());
    let (thaw, late) = frozen(&world);
    settle().await;
    advance(LEASE).await;
    let failed = world
        .operation()
        .run(async { Err::<u32, _>(Error::ResultUnavailable) });
    assert!(failed.await.is_err());

    thaw.send(()).unwrap();
    let error = late.await.unwrap().unwrap_err();
    let Error::LeaseLost { value } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(value.bytes(), b"100");
    assert!(error.is_retryable());
    assert_eq!(world.call().await.unwrap(), 2, "the key is free");
}

#[tokio::test(start_paused = true)]
async fn an_expired_lease_that_nobody_took_over_is_still_its_owners() {
    let world = Arc::new(World::new());
    let (thaw, late) = frozen(&world);
    settle().await;
    advance(LEASE * 10).await;
    thaw.send(()).unwrap();
    assert!(late.await.unwrap().unwrap().is_executed());
    assert_eq!(world.call().await.unwrap(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_running_body_is_told_that_its_lease_is_lost() {
    let world = World::new();
    let body = async |attempt: idempotent_core::Attempt| {
        assert!(!attempt.is_lease_lost());
        // Somebody takes over behind the owner's back, as after a pause of the whole machine.
        let mut record = world.record().await.unwrap();
        record.owner = Owner::from_bytes([9; 16]);
        let request = ClaimRequest::new(
            record.owner,
            Fingerprint::from_bytes([0; 32]),
            LEASE,
            Duration::from_secs(60),
        );
        advance(LEASE).await;
        world.store.claim(&key(), &request).await.unwrap();
        attempt.lease_lost().await;
        assert!(attempt.is_lease_lost());
        Ok::<u32, Error>(1)
    };
    let operation = world.operation().on_conflict(OnConflict::Fail);
    let error = operation.run_with(body).await.unwrap_err();
    assert!(matches!(error, Error::LeaseLost { .. }), "{error:?}");
    assert_eq!(world.events.count(EventKind::LeaseLost), 1);
}

#[tokio::test(start_paused = true)]
async fn fences_rise_with_every_attempt() {
    let world = World::new();
    let mut fences = Vec::new();
    for _ in 0..5 {
        let body = async |attempt: idempotent_core::Attempt| {
            fences.push(attempt.fence().unwrap());
            Err::<(), _>(Error::ResultUnavailable)
        };
        assert!(world.operation().run_with(body).await.is_err());
    }
    assert!(fences.is_sorted_by(|a, b| a < b), "{fences:?}");
    let record = world.record().await.unwrap();
    assert_eq!((record.attempt, record.failures), (5, 5));
    assert_eq!(record.ending, Some(Ending::Error));
}
