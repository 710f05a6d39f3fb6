use idempotent_core::protocol::{Claim, ReleaseMode};
use idempotent_core::{Ending, Key, State};

use super::prelude::*;

/// C1a.
pub(super) async fn an_absent_key_is_granted_as_the_first_attempt<H: Harness>(world: &World<H>) {
    let (key, request) = (key("order"), request());
    assert_eq!(world.get(&key).await, None);

    let before = world.harness.now().minus(H::PRECISION);
    let grant = world.grant(&key, &request).await;
    let after = world.harness.now().plus(H::PRECISION);

    assert_eq!(grant.owner, request.owner);
    assert_eq!(grant.attempt, 1);
    assert_eq!(grant.failures, 0);
    assert_eq!(grant.previous, None);
    assert_eq!(grant.fingerprint, request.fingerprint);
    assert_eq!((grant.keep, grant.ttl), (request.keep, request.ttl));
    assert!(!grant.at_most_once);
    assert_eq!(grant.steps, []);
    assert!(
        before <= grant.started_at && grant.started_at <= after,
        "{:?}",
        grant.started_at
    );
}

/// C1b.
pub(super) async fn a_completed_record_is_replayed<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    world.finish(&key, &grant, &value("paid")).await;
    let before = world.record(&key).await;

    for request in [request(), waiting(request()), at_most_once(request())] {
        let Claim::Done(recorded) = world.claim(&key, &request).await else {
            panic!("not done");
        };
        assert!(!recorded.failed);
        assert_eq!(recorded.payload, payload("paid"));
        assert_eq!(recorded.fingerprint, request.fingerprint);
        assert_eq!((recorded.attempt, recorded.fence), (1, grant.fence));
        near(recorded.remaining, LONG);
    }
    world.unchanged(&key, &before).await;
}

/// C1b.
pub(super) async fn a_recorded_error_is_replayed<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    world.finish(&key, &grant, &error("declined")).await;

    let Claim::Done(recorded) = world.claim(&key, &request()).await else {
        panic!("not done");
    };
    assert!(recorded.failed);
    assert_eq!(recorded.payload, payload("declined"));
    assert_eq!(world.record(&key).await.state, State::Failed);
}

/// C1b: the owner whose reply was lost may ask for its result.
pub(super) async fn a_result_is_replayed_to_its_own_owner<H: Harness>(world: &World<H>) {
    let (key, request) = (key("order"), request());
    let grant = world.grant(&key, &request).await;
    world.finish(&key, &grant, &value("paid")).await;
    assert!(matches!(world.claim(&key, &request).await, Claim::Done(_)));
}

/// C1c.
pub(super) async fn a_repeated_claim_gets_the_same_grant<H: Harness>(world: &World<H>) {
    let (key, request) = (key("order"), request());
    let grant = world.grant(&key, &request).await;
    assert_eq!(world.grant(&key, &request).await, grant);
    assert_eq!(world.grant(&key, &request).await, grant);
    assert_eq!(world.record(&key).await.attempt, 1);
}

/// C1c and C7: nobody has taken over, so the lease is still its owner's.
pub(super) async fn a_repeated_claim_gets_the_same_grant_after_its_lease<H: Harness>(
    world: &World<H>,
) {
    for (key, request) in [
        (key("rerun"), short::<H>()),
        (key("at most once"), at_most_once(short::<H>())),
    ] {
        let grant = world.lapsed(&key, &request).await;
        assert_eq!(world.grant(&key, &request).await, grant);
        world.finish(&key, &grant, &value("paid")).await;
    }
}

/// C1c: the lease counts from the last try.
pub(super) async fn a_repeated_claim_renews_the_lease<H: Harness>(world: &World<H>) {
    let (key, mut request) = (key("order"), short::<H>());
    let grant = world.grant(&key, &request).await;
    request.lease = LONG;
    assert_eq!(world.grant(&key, &request).await, grant);
    world.pass().await;
    assert!(matches!(
        world.claim(&key, &short::<H>()).await,
        Claim::Busy { .. }
    ));
}

/// C1d: the release has overtaken its own claim. Reviving the call would block the key for nothing.
pub(super) async fn a_claim_after_its_own_release_is_stale<H: Harness>(world: &World<H>) {
    for ending in Ending::ALL {
        let (key, request) = (key(&format!("{ending:?}")), request());
        let grant = world.grant(&key, &request).await;
        world.free(&key, &grant, ending).await;
        let before = world.record(&key).await;

        assert_eq!(
            world.claim(&key, &request).await,
            Claim::Stale,
            "{ending:?}"
        );
        world.unchanged(&key, &before).await;
        world.grant(&key, &self::request()).await;
    }
}

/// C1e.
pub(super) async fn a_live_lease_is_busy<H: Harness>(world: &World<H>) {
    let key = key("order");
    world.grant(&key, &request()).await;
    for request in [request(), waiting(request()), at_most_once(request())] {
        let Claim::Busy { remaining, attempt } = world.claim(&key, &request).await else {
            panic!("not busy");
        };
        near(remaining, LONG);
        assert_eq!(attempt, 1);
    }
}

/// C1e: callers that find the key held never touch the running record.
pub(super) async fn a_busy_claim_changes_nothing<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    world.step(&key, &grant, &step("charge", "ch_1")).await;
    let before = world.record(&key).await;

    world.claim(&key, &request()).await;
    world.claim(&key, &at_most_once(request())).await;
    world.claim(&key, &other_arguments()).await;
    world.unchanged(&key, &before).await;
}

/// C1e.
pub(super) async fn a_waiting_claim_leaves_its_flag<H: Harness>(world: &World<H>) {
    let key = key("order");
    world.grant(&key, &waiting(request())).await;
    assert!(
        !world.record(&key).await.waiter,
        "nobody waits for a record that has just begun"
    );

    world.claim(&key, &request()).await;
    assert!(
        !world.record(&key).await.waiter,
        "this caller does not wait"
    );

    world.claim(&key, &waiting(request())).await;
    assert!(world.record(&key).await.waiter);

    world.claim(&key, &request()).await;
    assert!(world.record(&key).await.waiter, "another's flag stays");
}

/// C1b: also while the first attempt is in progress, where a wait would end in a stranger's result.
pub(super) async fn other_arguments_are_a_mismatch_in_progress<H: Harness>(world: &World<H>) {
    let key = key("order");
    world.grant(&key, &request()).await;
    assert_eq!(
        world.claim(&key, &waiting(other_arguments())).await,
        Claim::Mismatch
    );
    assert!(!world.record(&key).await.waiter);
}

/// C1b.
pub(super) async fn other_arguments_are_a_mismatch_after_the_lease<H: Harness>(world: &World<H>) {
    for (key, request) in [
        (key("rerun"), short::<H>()),
        (key("at most once"), at_most_once(short::<H>())),
    ] {
        let grant = world.lapsed(&key, &request).await;
        let before = world.record(&key).await;
        assert_eq!(
            world.claim(&key, &at_most_once(other_arguments())).await,
            Claim::Mismatch
        );
        world.unchanged(&key, &before).await;
        world.finish(&key, &grant, &value("paid")).await;
    }
}

/// C1b.
pub(super) async fn other_arguments_are_a_mismatch_after_the_result<H: Harness>(world: &World<H>) {
    for (key, completion) in [
        (key("completed"), value("paid")),
        (key("failed"), error("declined")),
    ] {
        let grant = world.grant(&key, &request()).await;
        world.finish(&key, &grant, &completion).await;
        let before = world.record(&key).await;
        assert_eq!(world.claim(&key, &other_arguments()).await, Claim::Mismatch);
        world.unchanged(&key, &before).await;
    }
}

/// C1b: the attempt that gave up may have had its effect, with the recorded arguments.
pub(super) async fn other_arguments_are_a_mismatch_after_a_release<H: Harness>(world: &World<H>) {
    for ending in Ending::ALL
        .into_iter()
        .filter(|ending| *ending != Ending::Clean)
    {
        let key = key(&format!("{ending:?}"));
        let grant = world.grant(&key, &request()).await;
        world.free(&key, &grant, ending).await;
        let before = world.record(&key).await;
        assert_eq!(
            world.claim(&key, &other_arguments()).await,
            Claim::Mismatch,
            "{ending:?}"
        );
        world.unchanged(&key, &before).await;
    }
}

/// C1b.
pub(super) async fn other_arguments_are_a_mismatch_in_doubt<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    world
        .release(&key, grant.holder(), Ending::Cancelled, ReleaseMode::Hold)
        .await;
    let before = world.record(&key).await;
    assert_eq!(world.claim(&key, &other_arguments()).await, Claim::Mismatch);
    world.unchanged(&key, &before).await;
}

/// C1b: nothing ran, so a corrected request may use the key.
pub(super) async fn other_arguments_may_use_a_key_after_a_clean_release<H: Harness>(
    world: &World<H>,
) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    world.free(&key, &grant, Ending::Clean).await;

    let corrected = other_arguments();
    let grant = world.grant(&key, &corrected).await;
    assert_eq!(
        (grant.attempt, grant.fingerprint),
        (1, corrected.fingerprint)
    );
    assert_eq!(world.record(&key).await.fingerprint, corrected.fingerprint);
    assert_eq!(world.claim(&key, &request()).await, Claim::Mismatch);
}

/// C1b: the first attempt ran with the recorded arguments, whatever the second did not do.
pub(super) async fn other_arguments_may_not_use_a_key_once_an_attempt_has_begun<H: Harness>(
    world: &World<H>,
) {
    let key = key("order");
    let first = world.grant(&key, &request()).await;
    world.free(&key, &first, Ending::Error).await;
    let second = world.grant(&key, &request()).await;
    world.free(&key, &second, Ending::Clean).await;
    assert_eq!(world.claim(&key, &other_arguments()).await, Claim::Mismatch);
}

/// `refund` never returns what `charge` recorded for the same order.
pub(super) async fn scopes_are_kept_apart<H: Harness>(world: &World<H>) {
    let charge = Key::new("charge", "order 7").unwrap();
    let refund = Key::new("refund", "order 7").unwrap();
    let grant = world.grant(&charge, &request()).await;
    world.finish(&charge, &grant, &value("charged")).await;

    assert_eq!(world.grant(&refund, &other_arguments()).await.attempt, 1);
}
