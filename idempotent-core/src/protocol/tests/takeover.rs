use super::*;

/// C1f.
#[test]
fn an_expired_lease_is_taken_over_as_the_next_attempt() {
    let (mut slot, first) = Slot::granted(&request(1));
    slot.pass(LEASE);

    let second = slot.grant(&request(2));
    assert_eq!(second.attempt, 2);
    assert_eq!(second.previous, Some(Ending::Expired));
    assert_eq!(second.failures, 1, "it may have taken its process along");
    assert_eq!(second.started_at, first.started_at);
    assert!(second.fence > first.fence);

    let record = slot.record();
    assert_eq!(record.owner, owner(2));
    assert_eq!(record.ending, None);
    assert_eq!(record.lease_until(), slot.now.plus(LEASE));
}

/// C1f: whatever the reason of the end, the next attempt is told.
#[test]
fn a_released_record_is_taken_over_at_once_with_the_reason() {
    for ending in [
        Ending::Cancelled,
        Ending::Error,
        Ending::Expired,
        Ending::Panicked,
    ] {
        let (mut slot, grant) = Slot::granted(&request(1));
        slot.release(&grant, ending, ReleaseMode::Free);
        let second = slot.grant(&request(2));
        assert_eq!(second.attempt, 2, "{ending:?}");
        assert_eq!(second.previous, Some(ending));
    }
}

/// C1f: the owner noted how it was ending before it fell silent.
#[test]
fn a_note_is_handed_over_instead_of_the_expiry() {
    for ending in [Ending::Cancelled, Ending::Panicked] {
        let (mut slot, grant) = Slot::granted(&request(1));
        slot.release(&grant, ending, ReleaseMode::Note);
        slot.pass(LEASE);
        let second = slot.grant(&request(2));
        assert_eq!(second.previous, Some(ending));
        assert_eq!(second.failures, u32::from(ending == Ending::Panicked));
    }
}

/// C1f.
#[test]
fn an_attempt_that_never_began_does_not_count() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.release(&grant, Ending::Clean, ReleaseMode::Free);

    let second = slot.grant(&request(2));
    assert_eq!(second.attempt, 1);
    assert_eq!(second.previous, None, "nothing ran before");
    assert!(second.fence > grant.fence);
}

/// C1f: a second attempt that never began leaves what is known of the first.
#[test]
fn an_attempt_that_never_began_hides_nothing_of_the_one_before_it() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.step(&grant, &step("charge", "ch_1"), LEASE);
    slot.release(&grant, Ending::Error, ReleaseMode::Free);
    let second = slot.grant(&request(2));
    slot.release(&second, Ending::Clean, ReleaseMode::Free);

    let third = slot.grant(&request(3));
    assert_eq!(third.attempt, 2);
    assert_eq!(third.previous, Some(Ending::Error));
    assert_eq!(third.failures, 1);
    assert_eq!(third.steps, [step("charge", "ch_1")]);
}

/// C1f: a clean note is only a note. The lease ran out, and with it the certainty.
#[test]
fn a_clean_note_does_not_make_the_attempt_clean() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.release(&grant, Ending::Clean, ReleaseMode::Note);
    slot.pass(LEASE);
    assert_eq!(slot.grant(&request(2)).attempt, 2);
}

/// C1f and P7.
#[test]
fn steps_are_handed_over_after_every_kind_of_end() {
    for ending in Ending::ALL {
        let (mut slot, grant) = Slot::granted(&request(1));
        slot.step(&grant, &step("charge", "ch_1"), LEASE);
        slot.step(&grant, &step("book", "b_1"), LEASE);
        slot.release(&grant, ending, ReleaseMode::Free);
        let second = slot.grant(&request(2));
        assert_eq!(
            second.steps,
            [step("charge", "ch_1"), step("book", "b_1")],
            "{ending:?}"
        );
    }

    let (mut slot, grant) = Slot::granted(&request(1));
    slot.step(&grant, &step("charge", "ch_1"), LEASE);
    slot.pass(LEASE);
    assert_eq!(slot.grant(&request(2)).steps, [step("charge", "ch_1")]);
}

/// C1f: from now on the new call's wishes count.
#[test]
fn a_takeover_brings_its_own_policy() {
    let (mut slot, _) = Slot::granted(&request(1));
    slot.pass(LEASE);
    let second = ClaimRequest {
        lease: LEASE * 2,
        keep: TTL * 3,
        ttl: TTL * 2,
        ..ClaimRequest::new(owner(2), fingerprint("3 apples"), LEASE, TTL)
    };
    let grant = slot.grant(&second);
    assert_eq!((grant.ttl, grant.keep), (TTL * 2, TTL * 3));
    assert_eq!(slot.record().keep, TTL * 3);
    assert_eq!(slot.record().lease_until(), slot.now.plus(LEASE * 2));
}

/// C1f: the policy of a released record's next owner may be at most once.
#[test]
fn a_released_record_is_taken_over_at_most_once_or_not() {
    let (mut slot, grant) = Slot::granted(&at_most_once(1));
    slot.release(&grant, Ending::Error, ReleaseMode::Free);
    assert_eq!(slot.grant(&at_most_once(2)).attempt, 2);
    assert!(slot.record().at_most_once);
}

/// Waiting: those who waited for the first owner now wait for the second.
#[test]
fn a_takeover_of_an_expired_lease_keeps_the_waiters() {
    let (mut slot, _) = Slot::granted(&request(1));
    slot.claim(&waiting(3));
    slot.pass(LEASE);
    slot.grant(&request(2));
    assert!(slot.record().waiter);
}

/// C1f: every attempt counts, whatever ended it.
#[test]
fn attempts_and_failures_are_counted_apart() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.release(&grant, Ending::Error, ReleaseMode::Free);
    let grant = slot.grant(&request(2));
    slot.release(&grant, Ending::Cancelled, ReleaseMode::Free);
    let grant = slot.grant(&request(3));
    slot.release(&grant, Ending::Error, ReleaseMode::Free);

    slot.grant(&request(4));
    slot.pass(LEASE);
    let grant = slot.grant(&request(5));
    assert_eq!((grant.attempt, grant.failures), (5, 3));
}

/// C1f: the count of attempts ends at its end.
#[test]
fn attempts_do_not_overflow() {
    let (mut slot, _) = Slot::granted(&request(1));
    slot.record.as_mut().unwrap().attempt = u32::MAX;
    slot.pass(LEASE);
    assert_eq!(slot.grant(&request(2)).attempt, u32::MAX);
}
