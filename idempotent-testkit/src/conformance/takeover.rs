use idempotent_core::Ending;
use idempotent_core::protocol::{Claim, ReleaseMode};

use super::prelude::*;

/// C1f and P8: a crash blocks nobody for longer than its lease.
pub(super) async fn an_expired_lease_is_taken_over_as_the_next_attempt<H: Harness>(
    world: &World<H>,
) {
    let key = key("order");
    let first = world.lapsed(&key, &short::<H>()).await;

    let second = world.grant(&key, &request()).await;
    assert_eq!(second.attempt, 2);
    assert_eq!(second.previous, Some(Ending::Expired));
    assert_eq!(second.failures, 1, "it may have taken its process along");
    assert_eq!(second.started_at, first.started_at);
    assert!(matches!(
        world.claim(&key, &request()).await,
        Claim::Busy { attempt: 2, .. }
    ));
}

/// C1f: whatever the reason of the end, the next attempt is told.
pub(super) async fn a_released_record_is_taken_over_with_its_reason<H: Harness>(world: &World<H>) {
    for ending in Ending::ALL
        .into_iter()
        .filter(|ending| *ending != Ending::Clean)
    {
        let key = key(&format!("{ending:?}"));
        let first = world.grant(&key, &request()).await;
        world.free(&key, &first, ending).await;
        let second = world.grant(&key, &request()).await;
        assert_eq!((second.attempt, second.previous), (2, Some(ending)));
        assert_eq!(second.started_at, first.started_at);
    }
}

/// C1f: the owner noted how it was ending, and its lease ran out.
pub(super) async fn a_note_is_handed_over<H: Harness>(world: &World<H>) {
    for ending in [Ending::Cancelled, Ending::Panicked] {
        let key = key(&format!("{ending:?}"));
        let first = world.grant(&key, &short::<H>()).await;
        world
            .release(&key, first.holder(), ending, ReleaseMode::Note)
            .await;
        world.pass().await;
        let second = world.grant(&key, &request()).await;
        assert_eq!((second.attempt, second.previous), (2, Some(ending)));
        assert_eq!(second.failures, u32::from(ending.is_failure()));
    }
}

/// C1f.
pub(super) async fn an_attempt_that_never_began_does_not_count<H: Harness>(world: &World<H>) {
    let key = key("order");
    for _ in 0..3 {
        let grant = world.grant(&key, &request()).await;
        assert_eq!(
            (grant.attempt, grant.previous, grant.failures),
            (1, None, 0)
        );
        world.free(&key, &grant, Ending::Clean).await;
    }
}

/// C1f and P5: a second attempt that never began leaves what is known of the first.
pub(super) async fn an_attempt_that_never_began_hides_nothing<H: Harness>(world: &World<H>) {
    let key = key("order");
    let first = world.grant(&key, &request()).await;
    world.step(&key, &first, &step("charge", "ch_1")).await;
    world.free(&key, &first, Ending::Error).await;
    let second = world.grant(&key, &request()).await;
    world.free(&key, &second, Ending::Clean).await;

    let third = world.grant(&key, &request()).await;
    assert_eq!((third.attempt, third.failures), (2, 1));
    assert_eq!(third.previous, Some(Ending::Error));
    assert_eq!(third.steps, [step("charge", "ch_1")]);
}

/// C1f.
pub(super) async fn attempts_and_failures_are_counted_apart<H: Harness>(world: &World<H>) {
    let key = key("order");
    for ending in [Ending::Error, Ending::Cancelled, Ending::Error] {
        let grant = world.grant(&key, &request()).await;
        world.free(&key, &grant, ending).await;
    }
    let fourth = world.grant(&key, &request()).await;
    assert_eq!((fourth.attempt, fourth.failures), (4, 2));
}

/// C1f: from now on the new call's wishes count.
pub(super) async fn a_takeover_brings_its_own_policy<H: Harness>(world: &World<H>) {
    let key = key("order");
    let first = world.grant(&key, &request()).await;
    world.free(&key, &first, Ending::Error).await;

    let second = at_most_once(kept(request(), LONG * 2));
    let grant = world.grant(&key, &second).await;
    assert_eq!((grant.keep, grant.at_most_once), (LONG * 2, true));
    let record = world.record(&key).await;
    assert_eq!(record.owner, second.owner);
    assert_eq!((record.keep, record.at_most_once), (LONG * 2, true));
    assert_eq!((record.attempt, record.ending), (2, None));
}

/// Those who waited for the first owner now wait for the second.
pub(super) async fn a_takeover_keeps_the_waiters<H: Harness>(world: &World<H>) {
    let key = key("order");
    let mut first = request();
    let grant = world.grant(&key, &first).await;
    world.claim(&key, &waiting(request())).await;
    first.lease = H::SHORT;
    assert_eq!(world.grant(&key, &first).await, grant);
    world.pass().await;

    world.grant(&key, &request()).await;
    assert!(world.record(&key).await.waiter);
}

/// C5 and P5: the lease is not the record's expiry.
pub(super) async fn an_orphan_is_remembered_after_its_lease<H: Harness>(world: &World<H>) {
    let key = key("order");
    let first = world.grant(&key, &short::<H>()).await;
    world.step(&key, &first, &step("charge", "ch_1")).await;
    world.renew(&key, &first, H::SHORT).await;
    for _ in 0..3 {
        world.pass().await;
    }
    let second = world.grant(&key, &request()).await;
    assert_eq!(second.attempt, 2, "something may have run before");
    assert_eq!(second.steps, [step("charge", "ch_1")]);
}

/// C5 and C12: `keep` after its lease, an orphan is forgotten.
pub(super) async fn an_orphan_is_forgotten_when_it_was_kept_long_enough<H: Harness>(
    world: &World<H>,
) {
    let key = key("order");
    world.grant(&key, &kept(short::<H>(), H::SHORT)).await;
    world.pass().await;
    world.pass().await;

    assert_eq!(world.get(&key).await, None);
    let next = world.grant(&key, &other_arguments()).await;
    assert_eq!((next.attempt, next.previous), (1, None));
}

/// C6 and C12: `keep` after its release, a tombstone is forgotten.
pub(super) async fn a_tombstone_is_forgotten_when_it_was_kept_long_enough<H: Harness>(
    world: &World<H>,
) {
    let key = key("order");
    let first = world.grant(&key, &kept(request(), H::SHORT)).await;
    world.free(&key, &first, Ending::Error).await;
    world.pass().await;

    assert_eq!(world.get(&key).await, None);
    let next = world.grant(&key, &other_arguments()).await;
    assert_eq!((next.attempt, next.previous), (1, None));
}
