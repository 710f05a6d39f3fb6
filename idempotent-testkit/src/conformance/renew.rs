use idempotent_core::protocol::{Claim, ReleaseMode, Update};
use idempotent_core::{Ending, State};

use super::prelude::*;

/// C3.
pub(super) async fn a_renewed_lease_keeps_others_out<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &short::<H>()).await;
    assert_eq!(world.renew(&key, &grant, LONG).await, Update::Applied);
    world.pass().await;
    let Claim::Busy { remaining, .. } = world.claim(&key, &request()).await else {
        panic!("not busy");
    };
    assert!(remaining <= LONG.saturating_sub(H::SHORT), "{remaining:?}");
}

/// C3: the lease counts from the renewal, not from the lease before.
pub(super) async fn a_renewal_may_shorten_the_lease<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    assert_eq!(world.renew(&key, &grant, H::SHORT).await, Update::Applied);
    world.pass().await;
    assert_eq!(world.grant(&key, &request()).await.attempt, 2);
}

/// C3: everything else stays, `keep` included.
pub(super) async fn a_renewal_changes_the_lease_alone<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    world.step(&key, &grant, &step("charge", "ch_1")).await;
    world.claim(&key, &waiting(request())).await;
    world
        .release(&key, grant.holder(), Ending::Cancelled, ReleaseMode::Note)
        .await;
    let before = world.record(&key).await;

    assert_eq!(world.renew(&key, &grant, LONG * 2).await, Update::Applied);
    let mut expected = before;
    expected.expires_at = expected.expires_at.plus(LONG);
    world.unchanged(&key, &expected).await;
}

/// C7: nobody has taken over, so the lease is still its owner's.
pub(super) async fn an_expired_lease_can_be_renewed<H: Harness>(world: &World<H>) {
    for (key, request) in [
        (key("rerun"), short::<H>()),
        (key("at most once"), at_most_once(short::<H>())),
    ] {
        let grant = world.lapsed(&key, &request).await;
        assert_eq!(world.renew(&key, &grant, LONG).await, Update::Applied);
        assert!(matches!(
            world.claim(&key, &self::request()).await,
            Claim::Busy { .. }
        ));
    }
}

/// C3: a heartbeat that comes late must be told.
pub(super) async fn a_late_owner_cannot_renew<H: Harness>(world: &World<H>) {
    let key = key("order");
    let late = world.lapsed(&key, &short::<H>()).await;
    let second = world.grant(&key, &request()).await;
    let before = world.record(&key).await;

    let found = lost(world.renew(&key, &late, LONG * 2).await);
    assert!(!found.same_owner);
    assert_eq!(
        (found.state, found.fence),
        (State::InProgress, second.fence)
    );
    world.unchanged(&key, &before).await;
}

/// C3.
pub(super) async fn a_renewal_shows_owner_and_fence<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let before = world.record(&key).await;
    for forged in [other_owner(&grant), other_fence(&grant)] {
        lost(world.renew(&key, &forged, LONG * 2).await);
        world.unchanged(&key, &before).await;
    }
}

/// C3: a heartbeat that comes after the result must not move its end.
pub(super) async fn a_finished_record_is_not_renewed<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    world.finish(&key, &grant, &value("paid")).await;
    let before = world.record(&key).await;

    let found = lost(world.renew(&key, &grant, LONG * 2).await);
    assert!(found.same_owner);
    assert_eq!(found.recorded.unwrap().payload, payload("paid"));
    world.unchanged(&key, &before).await;
}

/// C3: a leaked heartbeat must not revive what its call has given up.
pub(super) async fn a_released_record_is_not_renewed<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    world.free(&key, &grant, Ending::Error).await;
    let before = world.record(&key).await;

    let found = lost(world.renew(&key, &grant, LONG).await);
    assert_eq!(found.state, State::Released);
    world.unchanged(&key, &before).await;
    assert_eq!(world.grant(&key, &request()).await.attempt, 2);
}
