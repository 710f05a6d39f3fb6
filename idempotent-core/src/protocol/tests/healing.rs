use super::*;

/// An attempt with a history, whose record the store has lost.
fn lost() -> (Slot, Grant) {
    let (mut slot, first) = Slot::granted(&request(1));
    slot.step(&first, &step("charge", "ch_1"), LEASE);
    slot.release(&first, Ending::Error, ReleaseMode::Free);
    slot.pass(LEASE);
    let grant = slot.grant(&at_most_once(2));
    slot.record = None;
    slot.pass(LEASE / 3);
    (slot, grant)
}

/// C10.
#[test]
fn a_renewal_heals_a_lost_record() {
    let (mut slot, grant) = lost();
    assert_eq!(slot.renew(&grant, LEASE), Update::Healed);

    let record = slot.record();
    assert_eq!(record.state, State::InProgress);
    assert_eq!((record.owner, record.fence), (grant.owner, grant.fence));
    assert_eq!((record.attempt, record.failures), (2, 1));
    assert_eq!(record.previous, Some(Ending::Healed));
    assert_eq!(record.fingerprint, grant.fingerprint);
    assert_eq!(record.started_at, START);
    assert_eq!(record.steps, [step("charge", "ch_1")]);
    assert_eq!(record.lease_until(), slot.now.plus(LEASE));
    assert!(record.at_most_once);
    assert_eq!(slot.renew(&grant, LEASE), Update::Applied, "once is enough");
}

/// C10.
#[test]
fn a_completion_heals_a_lost_record() {
    let (mut slot, grant) = lost();
    assert_eq!(slot.complete(&grant, &value("paid")), Update::Healed);

    let record = slot.record();
    assert_eq!(record.state, State::Completed);
    assert_eq!(record.completed_at, Some(slot.now));
    assert_eq!(record.expires_at, slot.now.plus(TTL));
    assert_eq!(record.steps, []);
    assert!(matches!(slot.claim(&request(3)), Claim::Done(_)));
    assert_eq!(slot.complete(&grant, &value("paid")), Update::Repeated);
}

/// C10: the attempt after a healed one is told that something is not known.
#[test]
fn the_attempt_after_a_healed_one_is_a_later_one() {
    let (mut slot, grant) = lost();
    slot.renew(&grant, LEASE);
    slot.release(&grant, Ending::Error, ReleaseMode::Free);
    let next = slot.grant(&request(3));
    assert_eq!((next.attempt, next.previous), (3, Some(Ending::Error)));
    assert_eq!(next.steps, [step("charge", "ch_1")]);
}

/// C10: the window is min(ttl, keep) from the grant, its end included.
#[test]
fn healing_ends_with_its_window() {
    for (ttl, keep) in [(TTL, TTL * 2), (TTL * 2, TTL), (TTL, TTL)] {
        let claim = ClaimRequest {
            keep,
            ttl,
            ..request(1)
        };
        let (mut slot, grant) = Slot::granted(&claim);
        slot.record = None;

        slot.pass(TTL);
        assert_eq!(slot.clone().renew(&grant, LEASE), Update::Healed);
        assert_eq!(
            slot.clone().complete(&grant, &value("paid")),
            Update::Healed
        );

        slot.pass(MICRO);
        assert_eq!(slot.renew(&grant, LEASE), Update::Lost(None));
        assert_eq!(slot.complete(&grant, &value("paid")), Update::Lost(None));
        assert_eq!(slot.record, None);
    }
}

/// C10 and P2: whatever happened under another grant is still there when the window ends, so a
/// late owner never heals over a result that has come and gone.
#[test]
fn a_late_owner_does_not_heal_over_a_result_that_has_expired() {
    let (mut slot, late) = Slot::granted(&request(1));
    slot.pass(LEASE);
    let second = slot.grant(&request(2));
    slot.complete(&second, &value("paid"));
    slot.pass(TTL);

    assert!(slot.record().is_expired(slot.now));
    assert_eq!(
        slot.clone().complete(&late, &value("paid again")),
        Update::Lost(None)
    );
    assert_eq!(slot.renew(&late, LEASE), Update::Lost(None));
}

/// C10: there is nothing to heal where another attempt has begun.
#[test]
fn a_record_that_was_granted_anew_is_not_healed_over() {
    let (mut slot, lost) = lost();
    let second = slot.grant(&request(3));
    assert_eq!(second.attempt, 1, "the store does not know better");
    assert!(second.fence > lost.fence);
    assert!(matches!(
        slot.complete(&lost, &value("paid")),
        Update::Lost(Some(_))
    ));
    assert!(matches!(slot.renew(&lost, LEASE), Update::Lost(Some(_))));
    assert_eq!(slot.record().owner, second.owner);
}

/// C10: a store whose clock has stepped back heals, rather than lose a result.
#[test]
fn healing_survives_a_clock_that_steps_back() {
    let (mut slot, grant) = lost();
    slot.now = START.minus(TTL * 2);
    assert_eq!(slot.complete(&grant, &value("paid")), Update::Healed);
}
