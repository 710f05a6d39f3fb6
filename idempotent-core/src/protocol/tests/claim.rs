use super::*;

/// C1a.
#[test]
fn an_absent_key_is_granted_as_the_first_attempt() {
    let request = request(1);
    let (slot, grant) = Slot::granted(&request);

    assert_eq!(grant.attempt, 1);
    assert_eq!(grant.previous, None);
    assert_eq!(grant.failures, 0);
    assert_eq!(grant.steps, []);
    assert_eq!(grant.started_at, START);
    assert_eq!(grant.ttl, TTL);
    assert_eq!(grant.keep, request.keep);

    let record = slot.record();
    assert_eq!(record.state, State::InProgress);
    assert_eq!(record.owner, request.owner);
    assert_eq!(record.fingerprint, request.fingerprint);
    assert_eq!(record.lease_until(), START.plus(LEASE));
    assert_eq!(record.ending, None);
    assert!(
        !record.waiter,
        "nobody waits for a record that has just begun"
    );
}

/// C1a: asking to wait is about somebody else's attempt.
#[test]
fn a_granted_claim_leaves_no_waiter_behind() {
    let (slot, _) = Slot::granted(&waiting(1));
    assert!(!slot.record().waiter);
}

/// C1b.
#[test]
fn a_finished_record_is_replayed() {
    for completion in [value("paid"), error("declined")] {
        let (mut slot, grant) = Slot::granted(&request(1));
        slot.pass(MICRO);
        slot.complete(&grant, &completion);
        let before = slot.record.clone();

        let recorded = match slot.claim(&waiting(2)) {
            Claim::Done(recorded) => recorded,
            claim => panic!("{claim:?}"),
        };
        assert_eq!(recorded.failed, completion.failed);
        assert_eq!(recorded.payload, completion.payload);
        assert_eq!(recorded.attempt, 1);
        assert_eq!(recorded.fence, grant.fence);
        assert_eq!(recorded.completed_at, START.plus(MICRO));
        assert_eq!(recorded.expires_at, START.plus(MICRO).plus(TTL));
        assert_eq!(slot.record, before, "a replay changes nothing");
    }
}

/// C1b: the owner whose reply was lost gets its result like anybody else.
#[test]
fn a_finished_record_is_replayed_to_its_own_owner() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.complete(&grant, &value("paid"));
    assert!(matches!(slot.claim(&request(1)), Claim::Done(_)));
}

/// C1b.
#[test]
fn other_arguments_are_a_mismatch_in_every_state() {
    for (state, mut slot, _) in every_state() {
        let before = slot.record.clone();
        let other = ClaimRequest {
            wait: true,
            at_most_once: true,
            ..other_arguments(2)
        };
        assert_eq!(slot.claim(&other), Claim::Mismatch, "{state}");
        assert_eq!(slot.record, before, "{state}: a mismatch changes nothing");
    }
}

/// C1b: nothing ran, so a corrected request may use the key.
#[test]
fn other_arguments_may_use_a_key_after_a_clean_release() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.release(&grant, Ending::Clean, ReleaseMode::Free);

    let grant = slot.grant(&other_arguments(2));
    assert_eq!(grant.attempt, 1);
    assert_eq!(grant.fingerprint, fingerprint("4 apples"));
    assert_eq!(slot.record().fingerprint, fingerprint("4 apples"));
    assert_eq!(slot.claim(&request(3)), Claim::Mismatch);
}

/// C1b: the first attempt ran with the recorded arguments, whatever the second did not do.
#[test]
fn other_arguments_may_not_use_a_key_after_a_clean_release_of_a_later_attempt() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.release(&grant, Ending::Error, ReleaseMode::Free);
    let grant = slot.grant(&request(2));
    slot.release(&grant, Ending::Clean, ReleaseMode::Free);

    assert_eq!(slot.claim(&other_arguments(3)), Claim::Mismatch);
    assert!(matches!(slot.claim(&request(3)), Claim::Granted(_)));
}

/// C1c: the reply to the earlier try was lost.
#[test]
fn the_same_owner_gets_the_same_grant_again_with_a_new_lease() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.pass(LEASE / 2);

    assert_eq!(slot.claim(&request(1)), Claim::Granted(grant));
    assert_eq!(
        slot.record().lease_until(),
        START.plus(LEASE / 2).plus(LEASE)
    );
}

/// C1c and C7: an expired lease is still its owner's, at most once or not.
#[test]
fn the_same_owner_gets_the_same_grant_again_after_its_lease() {
    for request in [request(1), at_most_once(1)] {
        let (mut slot, grant) = Slot::granted(&request);
        slot.pass(LEASE * 2);
        assert_eq!(slot.claim(&request), Claim::Granted(grant));
        assert!(slot.record().is_held(slot.now));
    }
}

/// C1c: what others have left in the record stays.
#[test]
fn the_same_grant_again_keeps_the_waiter_and_the_note() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.claim(&waiting(2));
    slot.release(&grant, Ending::Cancelled, ReleaseMode::Note);
    slot.claim(&request(1));
    assert!(slot.record().waiter);
    assert_eq!(slot.record().ending, Some(Ending::Cancelled));
}

/// C1d: a claim that its own release has overtaken must not revive a dead call.
#[test]
fn a_claim_after_the_release_of_the_same_owner_is_stale() {
    for ending in Ending::ALL {
        let (mut slot, grant) = Slot::granted(&request(1));
        slot.release(&grant, ending, ReleaseMode::Free);
        let before = slot.record.clone();
        assert_eq!(slot.claim(&request(1)), Claim::Stale, "{ending:?}");
        assert_eq!(
            slot.record, before,
            "{ending:?}: a stale claim changes nothing"
        );
    }
}

/// C1d: the tombstone is another's after a takeover, so the first owner is a caller like any other.
#[test]
fn only_the_last_owner_is_stale() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.release(&grant, Ending::Error, ReleaseMode::Free);
    let grant = slot.grant(&request(2));
    slot.release(&grant, Ending::Error, ReleaseMode::Free);
    assert_eq!(slot.grant(&request(1)).attempt, 3);
}

/// C1e.
#[test]
fn a_live_lease_is_busy_to_its_last_microsecond() {
    let (mut slot, _) = Slot::granted(&request(1));
    assert_eq!(
        slot.claim(&request(2)),
        Claim::Busy {
            remaining: LEASE,
            attempt: 1
        }
    );

    slot.pass(just_before(LEASE));
    assert_eq!(
        slot.claim(&request(2)),
        Claim::Busy {
            remaining: MICRO,
            attempt: 1
        }
    );

    slot.pass(MICRO);
    assert!(matches!(slot.claim(&request(2)), Claim::Granted(_)));
}

/// C1e: neither policy has anything to say before the lease is over.
#[test]
fn a_live_lease_is_busy_at_most_once_or_not() {
    let (mut slot, _) = Slot::granted(&at_most_once(1));
    assert!(matches!(slot.claim(&at_most_once(2)), Claim::Busy { .. }));
}

/// C1e.
#[test]
fn busy_changes_nothing_but_the_waiter_flag() {
    let (mut slot, _) = Slot::granted(&request(1));
    let before = slot.record().clone();

    slot.claim(&request(2));
    assert_eq!(*slot.record(), before);

    slot.claim(&waiting(2));
    assert_eq!(
        *slot.record(),
        Record {
            waiter: true,
            ..before.clone()
        }
    );

    slot.claim(&request(3));
    assert_eq!(
        *slot.record(),
        Record {
            waiter: true,
            ..before
        },
        "another's flag stays"
    );
}

/// C12: expiry is decided when the record is read.
#[test]
fn a_finished_record_is_absent_from_the_moment_of_its_end() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.complete(&grant, &value("paid"));

    slot.pass(just_before(TTL));
    assert!(matches!(slot.claim(&request(2)), Claim::Done(_)));

    slot.pass(MICRO);
    let second = slot.grant(&request(2));
    assert_eq!(second.attempt, 1, "a new life");
    assert_eq!(second.started_at, slot.now);
    assert!(second.fence > grant.fence);
    assert_eq!(slot.record().late, 0);
}

/// C12: a key in its new life takes other arguments.
#[test]
fn arguments_are_forgotten_with_their_record() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.complete(&grant, &value("paid"));
    slot.pass(TTL);
    assert!(matches!(slot.claim(&other_arguments(2)), Claim::Granted(_)));
}

/// C5 and C12: an orphan is remembered for `keep` after its lease.
#[test]
fn an_orphan_is_absent_when_it_was_kept_long_enough() {
    let request_one = request(1);
    let (slot, _) = Slot::granted(&request_one);

    let mut before = slot.clone();
    before.pass(just_before(LEASE + request_one.keep));
    assert_eq!(before.grant(&request(2)).attempt, 2);

    let mut at_the_end = slot;
    at_the_end.pass(LEASE + request_one.keep);
    assert_eq!(at_the_end.grant(&request(2)).attempt, 1);
}

/// C5: an hour at least, however short the ttl.
#[test]
fn unfinished_records_are_kept_for_the_ttl_and_an_hour_at_least() {
    let keep = |ttl| ClaimRequest::new(owner(1), fingerprint("3 apples"), LEASE, ttl).keep;
    assert_eq!(keep(Duration::from_secs(1)), Duration::from_secs(3600));
    assert_eq!(keep(TTL), TTL);
}
