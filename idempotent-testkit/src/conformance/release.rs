use idempotent_core::protocol::{Claim, Failures, Holder, Release, ReleaseMode, Update};
use idempotent_core::{Ending, State, Store as _};

use super::prelude::*;

const MODES: [ReleaseMode; 3] = [ReleaseMode::Free, ReleaseMode::Hold, ReleaseMode::Note];

/// C6.
pub(super) async fn a_release_leaves_a_tombstone<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    world.step(&key, &grant, &step("charge", "ch_1")).await;
    world.claim(&key, &waiting(request())).await;
    let before = world.record(&key).await;
    world.free(&key, &grant, Ending::Error).await;

    let record = world.record(&key).await;
    near(record.expires_at.since(world.harness.now()), before.keep);
    let mut expected = before;
    expected.state = State::Released;
    expected.ending = Some(Ending::Error);
    expected.failures = 1;
    expected.waiter = false;
    expected.expires_at = record.expires_at;
    assert_eq!(record, expected);
}

/// C4 for releases: the reply to the first one was lost.
pub(super) async fn a_repeated_release_is_told_so<H: Harness>(world: &World<H>) {
    for mode in [ReleaseMode::Free, ReleaseMode::Hold] {
        let key = key(&format!("{mode:?}"));
        let grant = world.grant(&key, &request()).await;
        let first = world
            .release(&key, grant.holder(), Ending::Error, mode)
            .await;
        assert_eq!(first, Update::Applied);
        let before = world.record(&key).await;

        let second = world
            .release(&key, grant.holder(), Ending::Error, mode)
            .await;
        assert_eq!(second, Update::Repeated, "{mode:?}");
        world.unchanged(&key, &before).await;
    }
}

/// Not every end is a failure of the operation.
pub(super) async fn only_failures_are_counted<H: Harness>(world: &World<H>) {
    for ending in Ending::ALL {
        let key = key(&format!("{ending:?}"));
        let grant = world.grant(&key, &request()).await;
        world.free(&key, &grant, ending).await;
        let record = world.record(&key).await;
        assert_eq!(record.ending, Some(ending));
        assert_eq!(
            record.failures,
            u32::from(ending.is_failure()),
            "{ending:?}"
        );
    }
}

/// A release may leave the count alone, or begin it anew.
pub(super) async fn a_release_says_what_becomes_of_the_count_of_failures<H: Harness>(
    world: &World<H>,
) {
    for failures in Failures::ALL {
        let key = key(&format!("{failures:?}"));
        for _ in 0..2 {
            let grant = world.grant(&key, &request()).await;
            world.free(&key, &grant, Ending::Error).await;
        }
        let grant = world.grant(&key, &request()).await;
        let mut release = Release::new(Ending::Error, ReleaseMode::Free);
        release.failures = failures;
        let update = world.store().release(&key, &grant.holder(), release).await;
        assert_eq!(update.unwrap(), Update::Applied);
        assert_eq!(
            world.record(&key).await.failures,
            failures.of(2),
            "{failures:?}"
        );
    }
}

/// C3 and P3: a late owner's error does not free what its successor holds.
pub(super) async fn a_late_owner_cannot_release<H: Harness>(world: &World<H>) {
    let key = key("order");
    let late = world.lapsed(&key, &short::<H>()).await;
    let second = world.grant(&key, &request()).await;
    let before = world.record(&key).await;

    for mode in MODES {
        let update = world
            .release(&key, late.holder(), Ending::Error, mode)
            .await;
        let found = lost(update);
        assert_eq!(
            (found.same_owner, found.fence),
            (false, second.fence),
            "{mode:?}"
        );
        world.unchanged(&key, &before).await;
    }
}

/// C3: an error path must not free what its call has never claimed.
pub(super) async fn a_release_shows_owner_and_fence<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let before = world.record(&key).await;

    let stranger = Holder {
        owner: owner(),
        fence: None,
    };
    for holder in [
        stranger,
        other_owner(&grant).holder(),
        other_fence(&grant).holder(),
    ] {
        for mode in MODES {
            lost(world.release(&key, holder, Ending::Error, mode).await);
            world.unchanged(&key, &before).await;
        }
    }
}

/// P1: what is finished stays finished.
pub(super) async fn a_result_is_not_released<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    world.finish(&key, &grant, &value("paid")).await;
    let before = world.record(&key).await;

    for mode in MODES {
        let found = lost(
            world
                .release(&key, grant.holder(), Ending::Error, mode)
                .await,
        );
        assert_eq!(found.recorded.unwrap().payload, payload("paid"), "{mode:?}");
        world.unchanged(&key, &before).await;
    }
}

/// The lease runs on: the operation may have had its effect.
pub(super) async fn a_note_changes_nothing_but_the_ending<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let mut expected = world.record(&key).await;

    for ending in [Ending::Cancelled, Ending::Panicked] {
        let noted = world
            .release(&key, grant.holder(), ending, ReleaseMode::Note)
            .await;
        assert_eq!(noted, Update::Applied);
        expected.ending = Some(ending);
        world.unchanged(&key, &expected).await;
    }
    assert!(matches!(
        world.claim(&key, &request()).await,
        Claim::Busy { .. }
    ));
}

/// A note is for an attempt in progress.
pub(super) async fn a_note_comes_too_late_for_a_tombstone<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    world.free(&key, &grant, Ending::Error).await;
    let before = world.record(&key).await;
    for mode in [ReleaseMode::Hold, ReleaseMode::Note] {
        let found = lost(
            world
                .release(&key, grant.holder(), Ending::Panicked, mode)
                .await,
        );
        assert_eq!(
            (found.same_owner, found.state),
            (true, State::Released),
            "{mode:?}"
        );
        world.unchanged(&key, &before).await;
    }
}

/// The reply to the claim never came, so its owner does not know the fence.
pub(super) async fn an_owner_without_a_fence_may_release<H: Harness>(world: &World<H>) {
    for mode in MODES {
        let (key, request) = (key(&format!("{mode:?}")), request());
        world.grant(&key, &request).await;
        let holder = Holder {
            owner: request.owner,
            fence: None,
        };
        let update = world.release(&key, holder, Ending::Clean, mode).await;
        assert_eq!(update, Update::Applied, "{mode:?}");
    }
}

/// C7: nobody has taken over, so the record is still its owner's.
pub(super) async fn an_expired_lease_can_be_released<H: Harness>(world: &World<H>) {
    for mode in MODES {
        let key = key(&format!("{mode:?}"));
        let grant = world.lapsed(&key, &short::<H>()).await;
        let update = world
            .release(&key, grant.holder(), Ending::Error, mode)
            .await;
        assert_eq!(update, Update::Applied, "{mode:?}");
    }
}

/// C10: only renewing and completing write anew what the store has lost.
pub(super) async fn there_is_nothing_to_release_where_there_is_nothing<H: Harness>(
    world: &World<H>,
) {
    let key = key("order");
    let grant = world.lapsed(&key, &short::<H>()).await;
    world.lose(&key).await;
    for mode in MODES {
        let update = world
            .release(&key, grant.holder(), Ending::Error, mode)
            .await;
        assert_eq!(update, Update::Lost(None), "{mode:?}");
    }
    assert_eq!(world.get(&key).await, None);
}
