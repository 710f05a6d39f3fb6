use idempotent_core::protocol::{Claim, Completion, Update};
use idempotent_core::{CodecId, Ending, Payload, State};

use super::prelude::*;

/// C4.
pub(super) async fn a_result_is_kept_for_its_ttl_from_completion<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.lapsed(&key, &short::<H>()).await;
    world
        .finish(&key, &grant, &Completion::value(payload("paid"), LONG * 3))
        .await;

    let record = world.record(&key).await;
    assert_eq!(record.state, State::Completed);
    assert_eq!(record.result, payload("paid"));
    let completed_at = record.completed_at.unwrap();
    let kept = record.expires_at.since(completed_at);
    assert!(kept.abs_diff(LONG * 3) <= H::PRECISION, "{kept:?}");
    assert!(completed_at.since(grant.fence.granted_at()) >= H::SHORT);
}

/// C12: decided when the record is read, whatever has been purged.
pub(super) async fn a_result_is_absent_after_its_ttl<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    world
        .finish(&key, &grant, &Completion::value(payload("paid"), H::SHORT))
        .await;
    world.pass().await;

    assert_eq!(world.get(&key).await, None);
    let next = world.grant(&key, &other_arguments()).await;
    assert_eq!((next.attempt, next.previous, next.failures), (1, None, 0));
    assert_eq!(world.record(&key).await.result, Payload::default());
}

/// C4: the reply to the first completion was lost.
pub(super) async fn a_repeated_completion_is_told_so<H: Harness>(world: &World<H>) {
    for (key, completion) in [
        (key("value"), value("paid")),
        (key("error"), error("declined")),
    ] {
        let grant = world.grant(&key, &request()).await;
        world.finish(&key, &grant, &completion).await;
        let before = world.record(&key).await;
        world.pass().await;

        assert_eq!(
            world.complete(&key, &grant, &completion).await,
            Update::Repeated
        );
        let mut longer = completion;
        longer.ttl = LONG * 2;
        assert_eq!(
            world.complete(&key, &grant, &longer).await,
            Update::Repeated
        );
        world.unchanged(&key, &before).await;
    }
}

/// P1 and P2: one result per life, also from one owner.
pub(super) async fn a_second_result_is_refused<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    world.finish(&key, &grant, &value("paid")).await;
    let before = world.record(&key).await;

    let other_codec = Payload {
        codec: CodecId::NONE,
        ..payload("paid")
    };
    let others = [
        value("paid twice"),
        error("paid"),
        Completion::value(other_codec, LONG),
    ];
    for (late, other) in (1..).zip(others) {
        let found = lost(world.complete(&key, &grant, &other).await);
        assert!(found.same_owner);
        assert_eq!(found.state, State::Completed);
        assert_eq!(found.recorded.unwrap().payload, payload("paid"));

        let mut expected = before.clone();
        expected.late = late;
        world.unchanged(&key, &expected).await;
    }
}

/// C7: nobody has taken over, so the result counts.
pub(super) async fn an_expired_lease_can_be_completed<H: Harness>(world: &World<H>) {
    for (key, request) in [
        (key("rerun"), short::<H>()),
        (key("at most once"), at_most_once(short::<H>())),
    ] {
        let grant = world.lapsed(&key, &request).await;
        assert_eq!(
            world.complete(&key, &grant, &value("paid")).await,
            Update::Applied
        );
        assert!(matches!(
            world.claim(&key, &self::request()).await,
            Claim::Done(_)
        ));
    }
}

/// C3, P1 and P3: an owner that comes back late cannot overwrite its successor.
pub(super) async fn a_late_owner_cannot_complete<H: Harness>(world: &World<H>) {
    let key = key("order");
    let late = world.lapsed(&key, &short::<H>()).await;
    let second = world.grant(&key, &request()).await;

    let found = lost(world.complete(&key, &late, &value("late")).await);
    assert!(!found.same_owner);
    assert_eq!(
        (found.state, found.fence),
        (State::InProgress, second.fence)
    );
    assert_eq!(found.recorded, None);
    assert_eq!(found.fingerprint, second.fingerprint);

    assert_eq!(world.record(&key).await.owner, second.owner);
    world.finish(&key, &second, &value("paid")).await;
}

/// C8 and P2: a late owner is given the result that counts.
pub(super) async fn a_late_owner_is_given_the_winners_result<H: Harness>(world: &World<H>) {
    for (key, completion) in [
        (key("value"), value("paid")),
        (key("error"), error("declined")),
    ] {
        let late = world.lapsed(&key, &short::<H>()).await;
        let second = world.grant(&key, &request()).await;
        world.finish(&key, &second, &completion).await;

        let found = lost(world.complete(&key, &late, &value("late")).await);
        let recorded = found.recorded.unwrap();
        assert_eq!(recorded.payload, completion.payload);
        assert_eq!(recorded.failed, completion.failed);
        assert_eq!((recorded.attempt, recorded.fence), (2, second.fence));
        assert_eq!(world.record(&key).await.result, completion.payload);
    }
}

/// C4: an equal result is still another's. Its effect happened twice.
pub(super) async fn a_late_owner_with_an_equal_result_is_late_all_the_same<H: Harness>(
    world: &World<H>,
) {
    let key = key("order");
    let late = world.lapsed(&key, &short::<H>()).await;
    let second = world.grant(&key, &request()).await;
    world.finish(&key, &second, &value("paid")).await;
    lost(world.complete(&key, &late, &value("paid")).await);
    assert_eq!(world.record(&key).await.late, 1);
}

/// P3: a completion over the tombstone of its successor.
pub(super) async fn a_late_owner_cannot_complete_over_a_tombstone<H: Harness>(world: &World<H>) {
    let key = key("order");
    let late = world.lapsed(&key, &short::<H>()).await;
    let second = world.grant(&key, &request()).await;
    world.free(&key, &second, Ending::Error).await;

    let found = lost(world.complete(&key, &late, &value("late")).await);
    assert_eq!((found.state, found.fence), (State::Released, second.fence));
    assert_eq!(world.grant(&key, &request()).await.attempt, 3);
}

/// P3: an owner that has given up has given up.
pub(super) async fn a_released_call_cannot_complete<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    world.free(&key, &grant, Ending::Cancelled).await;

    let found = lost(world.complete(&key, &grant, &value("late")).await);
    assert!(found.same_owner);
    assert_eq!(world.record(&key).await.state, State::Released);
}

/// C3: a fence is public, and proves nothing.
pub(super) async fn a_completion_shows_its_owner<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let found = lost(
        world
            .complete(&key, &other_owner(&grant), &value("forged"))
            .await,
    );
    assert!(!found.same_owner);
    world.finish(&key, &grant, &value("paid")).await;
}

/// C3: an owner that was granted the key twice completes under the grant in force only.
pub(super) async fn a_completion_shows_its_fence<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let found = lost(
        world
            .complete(&key, &other_fence(&grant), &value("forged"))
            .await,
    );
    assert!(found.same_owner);
    assert_eq!(found.fence, grant.fence);
    world.finish(&key, &grant, &value("paid")).await;
}

/// C3: each one is an effect that happened twice, which somebody will want to know.
pub(super) async fn late_completions_are_counted<H: Harness>(world: &World<H>) {
    let key = key("order");
    let late = world.lapsed(&key, &short::<H>()).await;
    let second = world.grant(&key, &request()).await;
    for count in 1..=3 {
        lost(world.complete(&key, &late, &value("late")).await);
        assert_eq!(world.record(&key).await.late, count);
    }
    world.finish(&key, &second, &value("paid")).await;
    assert_eq!(
        world.record(&key).await.late,
        3,
        "the count outlives the completion"
    );
    lost(world.complete(&key, &late, &value("late")).await);
    assert_eq!(world.record(&key).await.late, 4);
}

/// A result that could not be kept is an end all the same: the operation does not run again.
pub(super) async fn a_completion_without_a_result_is_a_completion<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    world
        .finish(&key, &grant, &Completion::value(Payload::default(), LONG))
        .await;
    let Claim::Done(recorded) = world.claim(&key, &request()).await else {
        panic!("not done");
    };
    assert_eq!(recorded.payload, Payload::default());
}

/// C9: nobody goes on from a step of a finished operation.
pub(super) async fn a_finished_record_keeps_no_steps_and_no_waiter<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    world.step(&key, &grant, &step("charge", "ch_1")).await;
    world.claim(&key, &waiting(request())).await;
    world.finish(&key, &grant, &value("paid")).await;

    let record = world.record(&key).await;
    assert_eq!(record.steps, []);
    assert!(!record.waiter);
    assert_eq!(record.result, payload("paid"));
}
