use bytes::Bytes;
use idempotent_core::Ending;
use idempotent_core::protocol::{Claim, StepReply};

use super::prelude::*;

/// C9.
pub(super) async fn steps_are_kept_in_their_order<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let steps = [
        step("charge", "ch_1"),
        step("book", "b_1"),
        step("a mail", "sent"),
    ];
    for step in &steps {
        assert_eq!(world.step(&key, &grant, step).await, StepReply::Recorded);
    }
    assert_eq!(world.record(&key).await.steps, steps);
}

/// C9.
pub(super) async fn the_first_value_of_a_step_wins<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    world.step(&key, &grant, &step("charge", "ch_1")).await;
    world.step(&key, &grant, &step("book", "b_1")).await;

    let again = world.step(&key, &grant, &step("charge", "ch_2")).await;
    assert_eq!(again, StepReply::Known(Bytes::from_static(b"ch_1")));
    assert_eq!(
        world.record(&key).await.steps,
        [step("charge", "ch_1"), step("book", "b_1")]
    );
}

/// C9 and P7: a recorded step is never run by a later attempt.
pub(super) async fn steps_are_handed_over_after_an_expired_lease<H: Harness>(world: &World<H>) {
    let key = key("order");
    let first = world.grant(&key, &short::<H>()).await;
    world.step(&key, &first, &step("charge", "ch_1")).await;
    world.renew(&key, &first, H::SHORT).await;
    world.pass().await;

    let second = world.grant(&key, &request()).await;
    assert_eq!(second.steps, [step("charge", "ch_1")]);
    let again = world.step(&key, &second, &step("charge", "ch_2")).await;
    assert_eq!(again, StepReply::Known(Bytes::from_static(b"ch_1")));
}

/// C6 and P7.
pub(super) async fn steps_are_handed_over_after_every_release<H: Harness>(world: &World<H>) {
    for ending in Ending::ALL {
        let key = key(&format!("{ending:?}"));
        let first = world.grant(&key, &request()).await;
        world.step(&key, &first, &step("charge", "ch_1")).await;
        world.free(&key, &first, ending).await;

        let second = world.grant(&key, &request()).await;
        assert_eq!(second.steps, [step("charge", "ch_1")], "{ending:?}");
        world.step(&key, &second, &step("book", "b_1")).await;
        world.free(&key, &second, Ending::Error).await;
        let third = world.grant(&key, &request()).await;
        assert_eq!(
            third.steps,
            [step("charge", "ch_1"), step("book", "b_1")],
            "{ending:?}"
        );
    }
}

/// C1c: a repeated claim is told of the steps too.
pub(super) async fn steps_are_in_the_same_grant_again<H: Harness>(world: &World<H>) {
    let (key, request) = (key("order"), request());
    let grant = world.grant(&key, &request).await;
    world.step(&key, &grant, &step("charge", "ch_1")).await;
    assert_eq!(
        world.grant(&key, &request).await.steps,
        [step("charge", "ch_1")]
    );
}

/// C9: both a first recording and a repeat.
pub(super) async fn recording_a_step_renews_the_lease<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &short::<H>()).await;
    for reply in [
        StepReply::Recorded,
        StepReply::Known(Bytes::from_static(b"ch_1")),
    ] {
        world.renew(&key, &grant, H::SHORT).await;
        assert_eq!(
            world.step(&key, &grant, &step("charge", "ch_1")).await,
            reply
        );
        world.pass().await;
        assert!(matches!(
            world.claim(&key, &request()).await,
            Claim::Busy { .. }
        ));
    }
}

/// C3 and P3.
pub(super) async fn a_late_owner_cannot_record_a_step<H: Harness>(world: &World<H>) {
    let key = key("order");
    let late = world.lapsed(&key, &short::<H>()).await;
    let second = world.grant(&key, &request()).await;
    let before = world.record(&key).await;

    let reply = world.step(&key, &late, &step("charge", "late")).await;
    let StepReply::Lost(Some(found)) = reply else {
        panic!("not lost: {reply:?}")
    };
    assert_eq!((found.same_owner, found.fence), (false, second.fence));
    world.unchanged(&key, &before).await;
}

/// C3.
pub(super) async fn a_step_shows_owner_and_fence<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let before = world.record(&key).await;
    for forged in [other_owner(&grant), other_fence(&grant)] {
        let reply = world.step(&key, &forged, &step("charge", "forged")).await;
        assert!(matches!(reply, StepReply::Lost(Some(_))), "{reply:?}");
        world.unchanged(&key, &before).await;
    }
}

/// C3: no step is recorded once the attempt is over.
pub(super) async fn steps_are_recorded_in_progress_only<H: Harness>(world: &World<H>) {
    let (finished, released) = (key("finished"), key("released"));
    let done = world.grant(&finished, &request()).await;
    world.finish(&finished, &done, &value("paid")).await;
    let freed = world.grant(&released, &request()).await;
    world.free(&released, &freed, Ending::Error).await;

    for (key, grant) in [(finished, done), (released, freed)] {
        let before = world.record(&key).await;
        let reply = world.step(&key, &grant, &step("charge", "late")).await;
        let StepReply::Lost(Some(found)) = reply else {
            panic!("not lost: {reply:?}")
        };
        assert!(found.same_owner);
        world.unchanged(&key, &before).await;
    }
}

/// C7.
pub(super) async fn a_step_can_be_recorded_after_an_expired_lease<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.lapsed(&key, &short::<H>()).await;
    assert_eq!(
        world.step(&key, &grant, &step("charge", "ch_1")).await,
        StepReply::Recorded
    );
    assert!(matches!(
        world.claim(&key, &request()).await,
        Claim::Busy { .. }
    ));
}

/// C10: a step would be recorded past a hole.
pub(super) async fn a_step_does_not_heal<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.lapsed(&key, &short::<H>()).await;
    world.lose(&key).await;
    let reply = world.step(&key, &grant, &step("charge", "ch_1")).await;
    assert_eq!(reply, StepReply::Lost(None));
    assert_eq!(world.get(&key).await, None);
}
