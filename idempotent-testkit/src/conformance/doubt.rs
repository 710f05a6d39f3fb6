use idempotent_core::protocol::{Claim, Grant, ReleaseMode, StepReply, Update};
use idempotent_core::{Ending, InspectExt, Key, Resolution, ResolveError, State};

use super::prelude::*;

/// A key in doubt, and the grant that fell silent.
async fn in_doubt<H: Harness>(world: &World<H>) -> (Key, Grant) {
    let key = key("order");
    let grant = world.lapsed(&key, &at_most_once(short::<H>())).await;
    assert!(matches!(
        world.claim(&key, &request()).await,
        Claim::InDoubt(_)
    ));
    (key, grant)
}

/// C1f: at most once, by the wish of whoever ran, or of whoever asks.
pub(super) async fn an_expired_lease_is_in_doubt_if_either_policy_says_so<H: Harness>(
    world: &World<H>,
) {
    let policies = [
        (key("record's"), at_most_once(short::<H>()), request()),
        (key("caller's"), short::<H>(), at_most_once(request())),
    ];
    for (key, first, second) in policies {
        let grant = world.lapsed(&key, &first).await;
        let Claim::InDoubt(doubt) = world.claim(&key, &second).await else {
            panic!("not in doubt");
        };
        assert_eq!(doubt.ending, Ending::Expired);
        assert_eq!(doubt.grant.holder(), grant.holder());
        assert_eq!(doubt.grant.attempt, 1);

        let record = world.record(&key).await;
        assert_eq!(record.state, State::InDoubt);
        near(record.expires_at.since(world.harness.now()), record.keep);
    }
}

/// C1f: the owner itself has given up, so there is no doubt.
pub(super) async fn a_released_record_is_never_in_doubt<H: Harness>(world: &World<H>) {
    for ending in Ending::ALL {
        let key = key(&format!("{ending:?}"));
        let grant = world.grant(&key, &at_most_once(request())).await;
        world.free(&key, &grant, ending).await;
        world.grant(&key, &at_most_once(request())).await;
    }
}

/// Whoever resolves the doubt may need to know.
pub(super) async fn a_doubt_tells_how_the_attempt_ended<H: Harness>(world: &World<H>) {
    let noted = key("noted");
    let grant = world.grant(&noted, &at_most_once(short::<H>())).await;
    world
        .release(&noted, grant.holder(), Ending::Panicked, ReleaseMode::Note)
        .await;
    world.pass().await;

    let held = key("held");
    let grant = world.grant(&held, &request()).await;
    world
        .release(&held, grant.holder(), Ending::Panicked, ReleaseMode::Hold)
        .await;

    for key in [noted, held] {
        let Claim::InDoubt(doubt) = world.claim(&key, &request()).await else {
            panic!("not in doubt");
        };
        assert_eq!(doubt.ending, Ending::Panicked);
    }
}

/// Nothing runs until somebody says what happened.
pub(super) async fn a_doubt_stays_until_it_is_resolved<H: Harness>(world: &World<H>) {
    let (key, _) = in_doubt(world).await;
    let before = world.record(&key).await;
    world.pass().await;
    for request in [request(), at_most_once(request()), waiting(request())] {
        assert!(matches!(
            world.claim(&key, &request).await,
            Claim::InDoubt(_)
        ));
    }
    world.unchanged(&key, &before).await;
}

/// C7: the owner who is heard of after all settles the doubt.
pub(super) async fn the_silent_owner_may_complete<H: Harness>(world: &World<H>) {
    let (key, grant) = in_doubt(world).await;
    world.finish(&key, &grant, &value("paid")).await;
    assert!(matches!(
        world.claim(&key, &request()).await,
        Claim::Done(_)
    ));
}

/// C7: but it may not go on as if nothing had happened.
pub(super) async fn the_silent_owner_may_not_go_on<H: Harness>(world: &World<H>) {
    let (key, grant) = in_doubt(world).await;
    let before = world.record(&key).await;
    assert_eq!(
        lost(world.renew(&key, &grant, LONG).await).state,
        State::InDoubt
    );
    let step = world.step(&key, &grant, &step("charge", "ch_1")).await;
    assert!(matches!(step, StepReply::Lost(Some(_))));
    world.unchanged(&key, &before).await;
}

/// C3.
pub(super) async fn nobody_else_may_settle_the_doubt<H: Harness>(world: &World<H>) {
    let (key, grant) = in_doubt(world).await;
    for forged in [other_owner(&grant), other_fence(&grant)] {
        lost(world.complete(&key, &forged, &value("forged")).await);
        let holder = forged.holder();
        lost(
            world
                .release(&key, holder, Ending::Clean, ReleaseMode::Free)
                .await,
        );
    }
    assert_eq!(world.record(&key).await.state, State::InDoubt);
}

/// Resolution: the effect happened, and this was its result.
pub(super) async fn a_doubt_can_be_resolved_with_a_value<H: Harness>(world: &World<H>) {
    let (key, grant) = in_doubt(world).await;
    let resolution = Resolution::Completed(payload("paid"), LONG);
    world.store().resolve(&key, resolution).await.unwrap();

    let Claim::Done(recorded) = world.claim(&key, &request()).await else {
        panic!("not done");
    };
    assert_eq!(recorded.payload, payload("paid"));
    let found = lost(world.complete(&key, &grant, &value("late")).await);
    assert_eq!(found.recorded.unwrap().payload, payload("paid"));
}

/// Resolution: the effect did not happen.
pub(super) async fn a_doubt_can_be_resolved_as_not_executed<H: Harness>(world: &World<H>) {
    let (key, silent) = in_doubt(world).await;
    world
        .store()
        .resolve(&key, Resolution::NotExecuted)
        .await
        .unwrap();

    let next = world.grant(&key, &at_most_once(request())).await;
    assert_eq!((next.attempt, next.previous), (2, Some(Ending::Expired)));
    lost(world.complete(&key, &silent, &value("late")).await);
    world.finish(&key, &next, &value("paid")).await;
}

/// Resolution: nobody overrules an attempt in progress, a result or a tombstone.
pub(super) async fn only_a_doubt_can_be_resolved<H: Harness>(world: &World<H>) {
    let (absent, running) = (key("absent"), key("running"));
    world.grant(&running, &request()).await;
    let (finished, released) = (key("finished"), key("released"));
    let grant = world.grant(&finished, &request()).await;
    world.finish(&finished, &grant, &value("paid")).await;
    let grant = world.grant(&released, &request()).await;
    world.free(&released, &grant, Ending::Error).await;

    for key in [absent, running, finished, released] {
        let before = world.get(&key).await;
        let resolved = world.store().resolve(&key, Resolution::NotExecuted).await;
        assert!(
            matches!(resolved, Err(ResolveError::NotInDoubt)),
            "{key:?}: {resolved:?}"
        );
        match before {
            Some(before) => world.unchanged(&key, &before).await,
            None => assert_eq!(world.get(&key).await, None),
        }
    }
}

/// C7: a doubt that was held on purpose is its owner's to free.
pub(super) async fn the_silent_owner_may_release<H: Harness>(world: &World<H>) {
    let (key, grant) = in_doubt(world).await;
    let freed = world
        .release(&key, grant.holder(), Ending::Error, ReleaseMode::Free)
        .await;
    assert_eq!(freed, Update::Applied);
    assert_eq!(
        world.grant(&key, &request()).await.previous,
        Some(Ending::Error)
    );
}
