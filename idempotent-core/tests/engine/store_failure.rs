//! A store that fails before the body runs: nothing happens that nobody knows of.

use std::sync::Arc;
use std::time::Duration;

use idempotent_core::{
    Ending, Error, EventKind, OnConflict, OnStoreFailure, Outcome, Provenance, State, StoreError,
};
use idempotent_testkit::faults::Op;
use tokio::time::{Instant, advance, sleep};

use crate::world::{LEASE, World, settle};

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_fails_the_call_and_the_body_never_runs() {
    let world = World::new();
    world.faults.on(Op::Claim).fail();
    let error = world.call().await.unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Store {
                store: "memory",
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.is_retryable());
    assert_eq!(world.effects.count(), 0);
    assert!(world.events.count(EventKind::StoreError) >= 1);

    world.faults.clear();
    assert_eq!(world.call().await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_failure_is_not_the_callers_concern() {
    let world = World::new();
    world.faults.on(Op::Claim).nth(1).fail();
    world.faults.on(Op::Complete).nth(1).fail();
    assert_eq!(world.call().await.unwrap(), 1);
    assert_eq!(world.call().await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_reply_was_lost_is_found_again_and_runs_once() {
    let world = World::new();
    world.faults.on(Op::Claim).nth(1).drop_reply();
    let answer = world.operation().run_with(async |attempt| {
        world.effects.happen();
        Ok::<_, Error>(attempt.number())
    });
    assert_eq!(answer.await.unwrap(), 1);
    assert_eq!(world.effects.count(), 1);
}

/// The store granted the claim, and never said so: the key must not be stuck for a whole lease.
#[tokio::test(start_paused = true)]
async fn a_claim_that_was_never_answered_is_withdrawn() {
    let world = World::new();
    world.faults.on(Op::Claim).drop_reply();
    assert!(matches!(world.call().await, Err(Error::Store { .. })));
    world.faults.clear();
    settle().await;
    let record = world.record().await.unwrap();
    assert_eq!(
        (record.state, record.ending),
        (State::Released, Some(Ending::Clean))
    );
    let attempt = world
        .operation()
        .run_with(async |attempt| Ok::<_, Error>(attempt.number()));
    assert_eq!(attempt.await.unwrap(), 1, "nothing had run");
}

#[tokio::test(start_paused = true)]
async fn run_unprotected_is_a_choice_and_shows() {
    let world = World::with(|engine| engine.on_store_failure(OnStoreFailure::RunUnprotected));
    world.faults.on(Op::Claim).fail();
    let body = async { Ok::<_, Error>(Outcome::new(world.effects.happen())) };
    let outcome = world.operation().run(body).await.unwrap();
    assert_eq!(outcome.provenance(), Provenance::Unprotected);
    assert_eq!(world.events.count(EventKind::Unprotected), 1);
}

/// Only a store that does not answer is a reason; what it answers still counts.
#[tokio::test(start_paused = true)]
async fn run_unprotected_does_not_run_what_the_store_forbids() {
    let world = World::with(|engine| engine.on_store_failure(OnStoreFailure::RunUnprotected));
    world
        .operation()
        .fingerprint("a")
        .run(async { Ok::<_, Error>(1) })
        .await
        .unwrap();
    let other = world
        .operation()
        .fingerprint("b")
        .run(async { Ok::<_, Error>(2) })
        .await;
    assert!(
        matches!(other, Err(Error::FingerprintMismatch)),
        "{other:?}"
    );
    world
        .faults
        .on(Op::Claim)
        .fail_with(|| StoreError::Corrupt("not a record".into()));
    let corrupt = world
        .operation()
        .fingerprint("a")
        .run(async { Ok::<_, Error>(2) })
        .await;
    assert!(matches!(corrupt, Err(Error::Corrupt(_))), "{corrupt:?}");
}

#[tokio::test(start_paused = true)]
async fn foreign_data_under_the_key_is_an_error_and_nothing_runs() {
    let world = World::new();
    world
        .faults
        .on(Op::Claim)
        .nth(1)
        .fail_with(|| StoreError::Corrupt("a list".into()));
    let newer = || StoreError::Incompatible {
        format: "idr9".to_owned(),
    };
    world.faults.on(Op::Claim).nth(2).fail_with(newer);
    let corrupt = world.call().await.unwrap_err();
    assert!(
        matches!(corrupt, Error::Corrupt(_)) && !corrupt.is_retryable(),
        "{corrupt:?}"
    );
    let newer = world.call().await.unwrap_err();
    assert!(
        matches!(newer, Error::Incompatible(_)) && !newer.is_retryable(),
        "{newer:?}"
    );
    assert_eq!(world.effects.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_store_is_told_at_once_and_can_be_retried() {
    let world = World::new();
    world
        .faults
        .on(Op::Claim)
        .fail_with(|| StoreError::Full("no room".into()));
    let began = Instant::now();
    let error = world.call().await.unwrap_err();
    assert!(matches!(
        error,
        Error::Store {
            source: StoreError::Full(_),
            ..
        }
    ));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// Callers of one process queue for the store; they must not each wait out its failure in turn.
#[tokio::test(start_paused = true)]
async fn callers_of_a_dead_store_fail_together() {
    let world = Arc::new(World::new());
    world.faults.on(Op::Claim).delay(Duration::from_secs(2));
    world.faults.on(Op::Claim).fail();
    let began = Instant::now();
    let calls: Vec<_> = (0..64)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.call().await })
        })
        .collect();
    for call in calls {
        let error = call.await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Store { .. }), "{error:?}");
    }
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(
        world.faults.count(Op::Claim),
        4,
        "one call, and its retries"
    );
}

#[tokio::test(start_paused = true)]
async fn a_waiter_survives_a_store_that_fails_for_a_while() {
    let world = World::new();
    let owner = world.operation().run(async {
        sleep(Duration::from_secs(8)).await;
        Ok::<_, Error>(world.effects.happen())
    });
    let waiter = async {
        sleep(Duration::from_secs(1)).await;
        let outage = async {
            sleep(Duration::from_secs(1)).await;
            world.faults.on_any().fail();
            sleep(Duration::from_secs(5)).await;
            world.faults.clear();
        };
        let (answer, ()) = tokio::join!(world.call(), outage);
        assert_eq!(answer.unwrap(), 1);
    };
    let (answer, ()) = tokio::join!(owner, waiter);
    assert_eq!(answer.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_without_notifications_polls() {
    let world = World::new();
    world.faults.on(Op::Watch).fail();
    let owner = world.operation().run(async {
        sleep(Duration::from_secs(3)).await;
        Ok::<_, Error>(world.effects.happen())
    });
    let waiter = async {
        sleep(Duration::from_millis(1)).await;
        let began = Instant::now();
        assert_eq!(world.call().await.unwrap(), 1);
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
    };
    let (answer, ()) = tokio::join!(owner, waiter);
    assert_eq!(answer.unwrap(), 1);
    let asked = world.faults.count(Op::Claim);
    assert!(asked < 20, "polls grow rarer: {asked}");
}

/// Dropped while the claim is on its way: the claim ends in the background, and is given back.
#[tokio::test(start_paused = true)]
async fn a_call_dropped_while_it_claims_gives_the_claim_back() {
    for reply in [false, true] {
        let world = World::new();
        let gate = if reply {
            world.faults.on(Op::Claim).stop_reply()
        } else {
            world.faults.on(Op::Claim).stop()
        };
        tokio::select! {
            biased;
            () = async { gate.reached().await } => {}
            answer = world.call() => panic!("{answer:?}"),
        }
        gate.open();
        settle().await;
        let record = world.record().await.unwrap();
        assert_eq!(
            (record.state, record.ending),
            (State::Released, Some(Ending::Clean))
        );
        assert_eq!(world.effects.count(), 0);
        world.faults.clear();
        assert_eq!(world.call().await.unwrap(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_is_tried_again_before_the_lease_is_over() {
    let world = World::new();
    world.faults.on(Op::Renew).first(3).fail();
    let owner = world.operation().run(async {
        sleep(LEASE * 3).await;
        Ok::<_, Error>(Outcome::new(world.effects.happen()))
    });
    let other = async {
        sleep(LEASE + Duration::from_secs(1)).await;
        let operation = world.operation().on_conflict(OnConflict::Fail);
        let answer = operation.run(async { Ok::<u32, Error>(0) }).await;
        assert!(
            matches!(answer, Err(Error::InProgress { .. })),
            "{answer:?}"
        );
    };
    let (answer, ()) = tokio::join!(owner, other);
    assert!(answer.unwrap().is_executed());
    assert_eq!(world.events.count(EventKind::LeaseLost), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_renewed_is_told_to_the_body_before_it_is_over() {
    for hangs in [false, true] {
        let world = World::new();
        if hangs {
            world.faults.on(Op::Renew).hang();
        } else {
            world.faults.on(Op::Renew).fail();
        }
        let began = Instant::now();
        let answer = world.operation().run_with(async |attempt| {
            attempt.lease_lost().await;
            Ok::<_, Error>(Outcome::new(began.elapsed()))
        });
        let answer = answer.await.unwrap();
        assert!(
            answer.is_executed(),
            "nobody took over, so it is still the owner's"
        );
        let told = *answer.value();
        assert!(told >= LEASE * 8 / 10 && told < LEASE, "{told:?}");
        assert_eq!(world.events.count(EventKind::LeaseLost), 1);
    }
}

/// A body that is ready at once needs no timer and no renewal.
#[tokio::test(start_paused = true)]
async fn a_first_call_asks_the_store_twice_and_a_replay_once() {
    let world = World::new();
    world.call().await.unwrap();
    assert_eq!(world.faults.calls(), [Op::Claim, Op::Complete]);
    world.call().await.unwrap();
    assert_eq!(world.faults.calls().len(), 3);
    advance(LEASE).await;
}

/// However many call at once, the store is asked by one of them.
#[tokio::test(start_paused = true)]
async fn two_hundred_callers_cost_the_store_as_much_as_two() {
    let world = Arc::new(World::new());
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                let body = async {
                    sleep(Duration::from_millis(40)).await;
                    Ok::<_, Error>(world.effects.happen())
                };
                world.operation().run(body).await
            })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), 1);
    }
    let calls = world.faults.calls();
    assert!(calls.len() <= 7, "{calls:?}");
    assert_eq!(world.events.count(EventKind::Waited), 199);
}

/// Callers at once of what has long finished share a look at the store, and wait for nothing else.
#[tokio::test(start_paused = true)]
async fn replays_at_once_share_a_question_and_are_not_said_to_have_waited() {
    let world = Arc::new(World::new());
    world.call().await.unwrap();
    world.faults.on(Op::Claim).delay(Duration::from_millis(5));
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.call().await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), 1);
    }
    assert_eq!(world.faults.count(Op::Claim), 2);
    assert_eq!(world.events.count(EventKind::Waited), 0);
}
