use super::*;

/// C4.
#[test]
fn a_result_is_kept_for_its_ttl_from_completion() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.pass(LEASE / 2);
    let completion = Completion::value(payload("paid"), TTL / 2);
    assert_eq!(slot.complete(&grant, &completion), Update::Applied);

    let record = slot.record();
    assert_eq!(record.state, State::Completed);
    assert_eq!(record.result, payload("paid"));
    assert_eq!(record.completed_at, Some(slot.now));
    assert_eq!(record.expires_at, slot.now.plus(TTL / 2));
}

/// C4: an error that is recorded is a result like any other.
#[test]
fn a_recorded_error_is_a_result() {
    let (mut slot, grant) = Slot::granted(&request(1));
    assert_eq!(slot.complete(&grant, &error("declined")), Update::Applied);
    assert_eq!(slot.record().state, State::Failed);
    assert_eq!(
        slot.record().failures,
        0,
        "only errors that were not recorded count"
    );
}

/// C9: nobody goes on from a step of a finished operation.
#[test]
fn a_finished_record_keeps_no_steps_no_waiter_and_no_note() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.step(&grant, &step("charge", "ch_1"), LEASE);
    slot.claim(&waiting(2));
    slot.release(&grant, Ending::Cancelled, ReleaseMode::Note);
    slot.complete(&grant, &value("paid"));

    let record = slot.record();
    assert_eq!(record.steps, []);
    assert!(!record.waiter);
    assert_eq!(record.ending, None);
}

/// A result that could not be kept is still an end: the operation does not run again.
#[test]
fn a_completion_without_a_result_is_a_completion() {
    let (mut slot, grant) = Slot::granted(&request(1));
    let without = Completion::value(Payload::default(), TTL);
    assert_eq!(slot.complete(&grant, &without), Update::Applied);
    match slot.claim(&request(2)) {
        Claim::Done(recorded) => assert_eq!(recorded.payload.codec, CodecId::NONE),
        claim => panic!("{claim:?}"),
    }
}

/// C4: the reply to the first completion was lost.
#[test]
fn a_repeated_completion_is_told_so_and_changes_nothing() {
    for completion in [value("paid"), error("declined")] {
        let (mut slot, grant) = Slot::granted(&request(1));
        slot.complete(&grant, &completion);
        let before = slot.record.clone();

        slot.pass(LEASE);
        assert_eq!(slot.complete(&grant, &completion), Update::Repeated);
        assert_eq!(
            slot.record, before,
            "neither the ttl nor the late count moves"
        );
    }
}

/// C4 and P2: the ttl is not part of the result.
#[test]
fn a_repeated_completion_does_not_move_the_ttl() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.complete(&grant, &value("paid"));
    let before = slot.record.clone();
    let longer = Completion::value(payload("paid"), TTL * 2);
    assert_eq!(slot.complete(&grant, &longer), Update::Repeated);
    assert_eq!(slot.record, before);
}

/// P1 and P2: the doubt that this owner left was resolved with another result, for example.
#[test]
fn a_second_result_of_the_same_grant_is_refused() {
    let other_codec = Payload {
        codec: CodecId::new(100).unwrap(),
        ..payload("paid")
    };
    let others = [
        value("paid twice"),
        error("paid"),
        Completion::value(other_codec, TTL),
    ];
    for second in others {
        let (mut slot, grant) = Slot::granted(&request(1));
        slot.complete(&grant, &value("paid"));
        let before = slot.record().clone();

        let found = match slot.complete(&grant, &second) {
            Update::Lost(Some(found)) => found,
            update => panic!("{update:?}"),
        };
        assert!(found.same_owner);
        assert_eq!(found.recorded.unwrap().payload, payload("paid"));
        assert_eq!(*slot.record(), Record { late: 1, ..before });
    }
}

/// C7.
#[test]
fn an_expired_lease_can_be_completed_until_somebody_takes_over() {
    for request in [request(1), at_most_once(1)] {
        let (mut slot, grant) = Slot::granted(&request);
        slot.pass(just_before(LEASE + request.keep));
        assert_eq!(slot.complete(&grant, &value("paid")), Update::Applied);
    }
}

/// C3, P1 and P3.
#[test]
fn a_late_owner_cannot_complete_over_its_successor() {
    let (mut slot, late) = Slot::granted(&request(1));
    slot.pass(LEASE);
    let second = slot.grant(&request(2));
    let before = slot.record().clone();

    let found = match slot.complete(&late, &value("paid")) {
        Update::Lost(Some(found)) => found,
        update => panic!("{update:?}"),
    };
    assert_eq!(found.state, State::InProgress);
    assert!(!found.same_owner);
    assert_eq!(found.fence, second.fence);
    assert_eq!(found.recorded, None);
    assert_eq!(*slot.record(), Record { late: 1, ..before });
}

/// C8: the late owner is told what counts.
#[test]
fn a_late_owner_is_given_the_winners_result() {
    let (mut slot, late) = Slot::granted(&request(1));
    slot.pass(LEASE);
    let second = slot.grant(&request(2));
    slot.complete(&second, &value("paid by the second"));

    let found = match slot.complete(&late, &value("paid")) {
        Update::Lost(Some(found)) => found,
        update => panic!("{update:?}"),
    };
    let recorded = found.recorded.unwrap();
    assert_eq!(recorded.payload, payload("paid by the second"));
    assert_eq!((recorded.attempt, recorded.fence), (2, second.fence));
}

/// C3 and C4: an equal result is still another's. Its effect happened twice.
#[test]
fn a_late_owner_with_the_winners_result_is_late_all_the_same() {
    let (mut slot, late) = Slot::granted(&request(1));
    slot.pass(LEASE);
    let second = slot.grant(&request(2));
    slot.complete(&second, &value("paid"));
    assert!(matches!(
        slot.complete(&late, &value("paid")),
        Update::Lost(Some(_))
    ));
    assert_eq!(slot.record().late, 1);
}

/// P3: a late completion over a tombstone.
#[test]
fn a_completion_over_a_tombstone_is_refused() {
    // The successor's.
    let (mut slot, late) = Slot::granted(&request(1));
    slot.pass(LEASE);
    let second = slot.grant(&request(2));
    slot.release(&second, Ending::Error, ReleaseMode::Free);
    assert!(matches!(
        slot.complete(&late, &value("paid")),
        Update::Lost(Some(_))
    ));
    assert_eq!(slot.record().state, State::Released);

    // One's own.
    assert!(matches!(
        slot.complete(&second, &value("paid")),
        Update::Lost(Some(_))
    ));
    assert_eq!(slot.record().state, State::Released);
    assert_eq!(slot.record().late, 2);
}

/// C3: each of the two alone is not enough.
#[test]
fn a_completion_shows_owner_and_fence() {
    let (mut slot, grant) = Slot::granted(&request(1));
    let other_owner = Grant {
        owner: owner(2),
        ..grant.clone()
    };
    let other_fence = Grant {
        fence: Fence::from_u64(grant.fence.as_u64() - 1),
        ..grant.clone()
    };
    for (late, wrong) in [other_owner, other_fence].into_iter().enumerate() {
        assert!(matches!(
            slot.complete(&wrong, &value("paid")),
            Update::Lost(Some(_))
        ));
        assert_eq!(slot.record().state, State::InProgress);
        assert_eq!(slot.record().late as usize, late + 1);
    }
    assert_eq!(slot.complete(&grant, &value("paid")), Update::Applied);
    assert_eq!(slot.record().late, 2, "the count outlives the completion");
}

/// The count of late completions ends at its end.
#[test]
fn late_completions_do_not_overflow() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.record.as_mut().unwrap().late = u32::MAX;
    slot.complete(
        &Grant {
            owner: owner(2),
            ..grant
        },
        &value("paid"),
    );
    assert_eq!(slot.record().late, u32::MAX);
}

/// C12 and C10: a completion does not find a record past its end, and is too late to heal it.
#[test]
fn a_completion_after_the_records_end_is_lost() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.pass(LEASE + grant.keep);
    assert_eq!(slot.complete(&grant, &value("paid")), Update::Lost(None));
    assert_eq!(slot.record, None);
}
