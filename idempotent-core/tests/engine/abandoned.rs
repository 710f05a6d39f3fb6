use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use idempotent_core::{
    Ending, Error, EventKind, InspectExt, OnAbandoned, OnConflict, Outcome, Payload, Resolution,
    ResolveError, State, Verdict,
};
use tokio::time::advance;

use crate::world::{LEASE, MOMENT, World, frozen_until, key, settle};

/// Leaves a record whose owner is gone, as a crash does: nobody tells the store.
async fn crash(world: &World, on_abandoned: OnAbandoned) {
    use idempotent_core::protocol::ClaimRequest;
    use idempotent_core::{Fingerprint, Owner, Store};

    let fingerprint = Fingerprint::from_bytes([0; 32]);
    let ttl = Duration::from_secs(24 * 60 * 60);
    let mut request = ClaimRequest::new(Owner::random().unwrap(), fingerprint, LEASE, ttl);
    request.at_most_once = on_abandoned == OnAbandoned::InDoubt;
    world.store.claim(&key(), &request).await.unwrap();
    world.effects.happen();
}

#[tokio::test(start_paused = true)]
async fn rerun_takes_over_and_tells_the_body_that_it_is_not_the_first() {
    let world = World::new();
    crash(&world, OnAbandoned::Rerun).await;
    advance(LEASE.saturating_sub(MOMENT)).await;
    let operation = world.operation().on_conflict(OnConflict::Fail);
    let early = operation.run(async { Ok::<u32, Error>(0) }).await;
    assert!(matches!(early, Err(Error::InProgress { .. })), "{early:?}");
    advance(MOMENT).await;
    let answer = world.operation().run_with(async |attempt| {
        assert!(!attempt.is_first());
        assert_eq!(attempt.number(), 2);
        assert_eq!(attempt.previous(), Some(Ending::Expired));
        assert!(attempt.fence().is_some());
        Ok::<_, Error>(())
    });
    answer.await.unwrap();
    assert_eq!(world.events.count(EventKind::Takeover), 1);
}

#[tokio::test(start_paused = true)]
async fn in_doubt_never_runs_again_until_somebody_resolves_it() {
    let world = World::with(|engine| engine.on_abandoned(OnAbandoned::InDoubt));
    crash(&world, OnAbandoned::InDoubt).await;
    advance(LEASE).await;
    for _ in 0..3 {
        let error = world.call().await.unwrap_err();
        assert!(
            matches!(error, Error::InDoubt) && !error.is_retryable(),
            "{error:?}"
        );
        advance(Duration::from_secs(3600)).await;
    }
    assert_eq!(world.effects.count(), 1);
    assert!(world.events.count(EventKind::InDoubt) >= 3);

    world
        .store
        .resolve(&key(), Resolution::NotExecuted)
        .await
        .unwrap();
    assert_eq!(world.call().await.unwrap(), 2);
    let again = world.store.resolve(&key(), Resolution::NotExecuted).await;
    assert!(matches!(again, Err(ResolveError::NotInDoubt)), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_doubt_resolved_with_a_value_is_replayed() {
    let world = World::with(|engine| engine.on_abandoned(OnAbandoned::InDoubt));
    crash(&world, OnAbandoned::InDoubt).await;
    advance(LEASE).await;
    assert!(matches!(world.call().await, Err(Error::InDoubt)));
    let payload = Payload {
        codec: idempotent_core::CodecId::JSON,
        bytes: "17".into(),
    };
    let resolution = Resolution::Completed(payload, Duration::from_secs(60));
    world.store.resolve(&key(), resolution).await.unwrap();
    assert_eq!(world.call().await.unwrap(), 17);
    assert_eq!(world.effects.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_doubt_to_arise_is_told_of_it() {
    let world = World::with(|engine| engine.on_abandoned(OnAbandoned::InDoubt));
    crash(&world, OnAbandoned::InDoubt).await;
    assert!(matches!(world.call().await, Err(Error::InDoubt)));
}

#[tokio::test(start_paused = true)]
async fn verify_asks_the_outside_world_before_anything_runs_again() {
    for (verdict, answer, effects) in [
        (Verdict::Done(99), Some(99), 1),
        (Verdict::NotExecuted, Some(2), 2),
        (Verdict::Unknown, None, 1),
    ] {
        let world = World::new();
        crash(&world, OnAbandoned::InDoubt).await;
        advance(LEASE).await;
        let asked = Cell::new(0);
        let verify = || {
            asked.set(asked.get() + 1);
            async move { verdict }
        };
        let body = async { Ok::<_, Error>(world.effects.happen()) };
        let result = world.operation().run_verified(verify, body).await;
        assert_eq!(result.as_ref().ok(), answer.as_ref(), "{result:?}");
        assert_eq!(asked.get(), 1);
        assert_eq!(world.effects.count(), effects);
        match answer {
            None => assert!(matches!(result, Err(Error::InDoubt)), "{result:?}"),
            Some(answer) => assert_eq!(world.call().await.unwrap(), answer),
        }
    }
}

#[tokio::test]
async fn a_first_call_does_not_ask() {
    let world = World::new();
    let verify = || async { panic!("nothing is in doubt") };
    let body = async { Ok::<_, Error>(world.effects.happen()) };
    assert_eq!(
        world.operation().run_verified(verify, body).await.unwrap(),
        1
    );
}

/// The owner wakes up after its record was put in doubt: it knows, so the doubt is settled.
#[tokio::test(start_paused = true)]
async fn an_owner_who_is_heard_of_after_all_settles_the_doubt() {
    let world = Arc::new(World::with(|engine| {
        engine.on_abandoned(OnAbandoned::InDoubt)
    }));
    let (thaw, thawed) = tokio::sync::oneshot::channel();
    let owner = tokio::spawn({
        let world = Arc::clone(&world);
        async move {
            let body = async {
                tokio::task::yield_now().await;
                Ok::<_, Error>(Outcome::new(world.effects.happen()))
            };
            frozen_until(thawed, world.operation().run(body)).await
        }
    });
    settle().await;
    advance(LEASE).await;
    assert!(matches!(world.call().await, Err(Error::InDoubt)));
    thaw.send(()).unwrap();
    assert!(owner.await.unwrap().unwrap().is_executed());
    assert_eq!(world.call().await.unwrap(), 1);
    assert_eq!(world.record().await.unwrap().state, State::Completed);
}
