use super::*;

/// C9.
#[test]
fn steps_are_kept_in_the_order_of_their_recording() {
    let (mut slot, grant) = Slot::granted(&request(1));
    for name in ["charge", "book", "mail"] {
        assert_eq!(
            slot.step(&grant, &step(name, "done"), LEASE),
            StepReply::Recorded
        );
    }
    let names: Vec<_> = slot
        .record()
        .steps
        .iter()
        .map(|step| step.name.as_str())
        .collect();
    assert_eq!(names, ["charge", "book", "mail"]);
}

/// C9.
#[test]
fn the_first_value_of_a_step_wins() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.step(&grant, &step("charge", "ch_1"), LEASE);
    let again = slot.step(&grant, &step("charge", "ch_2"), LEASE);
    assert_eq!(again, StepReply::Known(Bytes::from_static(b"ch_1")));
    assert_eq!(slot.record().steps, [step("charge", "ch_1")]);
}

/// C9 and P7.
#[test]
fn the_value_of_an_earlier_attempt_wins() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.step(&grant, &step("charge", "ch_1"), LEASE);
    slot.pass(LEASE);
    let second = slot.grant(&request(2));
    let again = slot.step(&second, &step("charge", "ch_2"), LEASE);
    assert_eq!(again, StepReply::Known(Bytes::from_static(b"ch_1")));
}

/// C9: both a first recording and a repeat.
#[test]
fn recording_a_step_renews_the_lease() {
    let (mut slot, grant) = Slot::granted(&request(1));
    for _ in 0..2 {
        slot.pass(LEASE / 2);
        slot.step(&grant, &step("charge", "ch_1"), LEASE);
        assert_eq!(slot.record().lease_until(), slot.now.plus(LEASE));
    }
}

/// C9: `()` is a value.
#[test]
fn an_empty_value_is_a_value() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.step(&grant, &step("mail", ""), LEASE);
    assert_eq!(
        slot.step(&grant, &step("mail", "sent"), LEASE),
        StepReply::Known(Bytes::new())
    );
}

/// C3 and P3.
#[test]
fn a_late_owner_cannot_record_a_step() {
    let (mut slot, late) = Slot::granted(&request(1));
    slot.pass(LEASE);
    slot.grant(&request(2));
    let before = slot.record.clone();

    let found = slot.found(&late);
    let reply = slot.step(&late, &step("charge", "ch_1"), LEASE);
    assert_eq!(reply, StepReply::Lost(Some(found)));
    assert_eq!(slot.record, before);
}

/// C3: each of the two alone is not enough.
#[test]
fn a_step_shows_owner_and_fence() {
    let (mut slot, grant) = Slot::granted(&request(1));
    let other_fence = Fence::from_u64(grant.fence.as_u64() + 1);
    let before = slot.record.clone();
    for wrong in [
        Grant {
            owner: owner(2),
            ..grant.clone()
        },
        Grant {
            fence: other_fence,
            ..grant.clone()
        },
    ] {
        let reply = slot.step(&wrong, &step("charge", "ch_1"), LEASE);
        assert!(matches!(reply, StepReply::Lost(Some(_))));
        assert_eq!(slot.record, before);
    }
}

/// C3.
#[test]
fn steps_are_recorded_in_progress_only() {
    for (state, mut slot, grant) in every_state() {
        let before = slot.record.clone();
        let reply = slot.step(&grant, &step("charge", "ch_1"), LEASE);
        if slot.record().state == State::InProgress {
            assert_eq!(reply, StepReply::Recorded, "{state}");
        } else {
            let found = slot.found(&grant);
            assert_eq!(reply, StepReply::Lost(Some(found)), "{state}");
            assert_eq!(slot.record, before, "{state}");
        }
    }
}

/// C3: a known step is not for strangers either.
#[test]
fn a_recorded_step_is_not_shown_to_a_late_owner() {
    let (mut slot, late) = Slot::granted(&request(1));
    slot.step(&late, &step("charge", "ch_1"), LEASE);
    slot.pass(LEASE);
    slot.grant(&request(2));
    let reply = slot.step(&late, &step("charge", "ch_1"), LEASE);
    assert!(matches!(reply, StepReply::Lost(Some(_))));
}

/// C10: only renewing and completing heal. A step would be recorded past a hole.
#[test]
fn a_step_does_not_heal() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.record = None;
    assert_eq!(
        slot.step(&grant, &step("charge", "ch_1"), LEASE),
        StepReply::Lost(None)
    );
    assert_eq!(slot.record, None);
}
