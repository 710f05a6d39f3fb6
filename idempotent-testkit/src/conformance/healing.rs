use idempotent_core::protocol::{Claim, ClaimRequest, Grant, Update};
use idempotent_core::{Ending, Key, State};

use super::prelude::*;

/// An attempt with a history, whose record the store has lost.
async fn lost_record<H: Harness>(world: &World<H>, second: &ClaimRequest) -> (Key, Grant) {
    let key = key("order");
    let first = world.grant(&key, &request()).await;
    world.step(&key, &first, &step("charge", "ch_1")).await;
    world.free(&key, &first, Ending::Error).await;
    let grant = world.lapsed(&key, second).await;
    world.lose(&key).await;
    (key, grant)
}

/// C10.
pub(super) async fn a_renewal_heals_a_lost_record<H: Harness>(world: &World<H>) {
    let (key, grant) = lost_record(world, &at_most_once(short::<H>())).await;
    assert_eq!(world.renew(&key, &grant, LONG).await, Update::Healed);

    let record = world.record(&key).await;
    assert_eq!(record.state, State::InProgress);
    assert_eq!((record.owner, record.fence), (grant.owner, grant.fence));
    assert_eq!((record.attempt, record.failures), (2, 1));
    assert_eq!(
        record.previous,
        Some(Ending::Healed),
        "what came before is not known"
    );
    assert_eq!(
        (record.fingerprint, record.keep),
        (grant.fingerprint, grant.keep)
    );
    assert!(record.at_most_once);
    assert_eq!(record.steps, [step("charge", "ch_1")]);

    assert!(matches!(
        world.claim(&key, &request()).await,
        Claim::Busy { .. }
    ));
    assert_eq!(
        world.renew(&key, &grant, LONG).await,
        Update::Applied,
        "once is enough"
    );
    world.finish(&key, &grant, &value("paid")).await;
}

/// C10.
pub(super) async fn a_completion_heals_a_lost_record<H: Harness>(world: &World<H>) {
    let (key, grant) = lost_record(world, &short::<H>()).await;
    assert_eq!(
        world.complete(&key, &grant, &value("paid")).await,
        Update::Healed
    );

    let record = world.record(&key).await;
    assert_eq!((record.state, record.attempt), (State::Completed, 2));
    assert_eq!(record.result, payload("paid"));
    assert_eq!(record.steps, []);
    near(record.expires_at.since(record.completed_at.unwrap()), LONG);
    assert!(matches!(
        world.claim(&key, &request()).await,
        Claim::Done(_)
    ));
    assert_eq!(
        world.complete(&key, &grant, &value("paid")).await,
        Update::Repeated
    );
}

/// C10 and P2: later, another life of the key may have come and gone.
pub(super) async fn healing_ends_with_its_window<H: Harness>(world: &World<H>) {
    let mut short_ttl = short::<H>();
    short_ttl.ttl = H::SHORT;
    let short_keep = kept(short::<H>(), H::SHORT);
    for (key, request) in [(key("ttl"), short_ttl), (key("keep"), short_keep)] {
        let grant = world.grant(&key, &request).await;
        world.pass().await;
        world.pass().await;
        // With a short `keep` the record is gone by itself.
        if request.keep > H::SHORT {
            world.lose(&key).await;
        }
        assert_eq!(world.renew(&key, &grant, LONG).await, Update::Lost(None));
        assert_eq!(
            world.complete(&key, &grant, &value("late")).await,
            Update::Lost(None)
        );
        assert_eq!(world.get(&key).await, None);
    }
}

/// C10: there is nothing to heal where another attempt has begun.
pub(super) async fn a_record_that_was_granted_anew_is_not_healed_over<H: Harness>(
    world: &World<H>,
) {
    let (key, late) = lost_record(world, &short::<H>()).await;
    let next = world.grant(&key, &request()).await;
    assert!(next.fence > late.fence);

    lost(world.renew(&key, &late, LONG).await);
    lost(world.complete(&key, &late, &value("late")).await);
    assert_eq!(world.record(&key).await.owner, next.owner);
    world.finish(&key, &next, &value("paid")).await;
}

/// C10: the attempt after a healed one goes on from what the healer knew.
pub(super) async fn a_healed_record_is_taken_over_with_its_history<H: Harness>(world: &World<H>) {
    let (key, grant) = lost_record(world, &short::<H>()).await;
    world.renew(&key, &grant, LONG).await;
    world.free(&key, &grant, Ending::Cancelled).await;
    let next = world.grant(&key, &request()).await;
    assert_eq!((next.attempt, next.failures), (3, 1));
    assert_eq!(next.previous, Some(Ending::Cancelled));
    assert_eq!(next.steps, [step("charge", "ch_1")]);
}
