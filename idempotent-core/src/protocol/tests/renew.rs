use super::*;

/// C3.
#[test]
fn a_renewed_lease_counts_from_the_renewal() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.pass(LEASE / 3);
    assert_eq!(slot.renew(&grant, LEASE), Update::Applied);

    let record = slot.record();
    assert_eq!(record.lease_until(), slot.now.plus(LEASE));
    assert_eq!(record.expires_at, slot.now.plus(LEASE).plus(record.keep));
}

/// C3: a lease may be shortened, as before a planned stop.
#[test]
fn a_renewal_may_shorten_the_lease() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.renew(&grant, MICRO);
    slot.pass(MICRO);
    assert_eq!(slot.grant(&request(2)).attempt, 2);
}

/// C3.
#[test]
fn a_renewal_changes_the_lease_alone() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.claim(&waiting(2));
    slot.step(&grant, &step("charge", "ch_1"), LEASE);
    slot.release(&grant, Ending::Cancelled, ReleaseMode::Note);
    let before = slot.record().clone();

    slot.pass(MICRO);
    slot.renew(&grant, LEASE);
    let expires_at = slot.now.plus(LEASE).plus(before.keep);
    assert_eq!(
        *slot.record(),
        Record {
            expires_at,
            ..before
        }
    );
}

/// C7: nobody took over, so the lease is still its owner's.
#[test]
fn an_expired_lease_can_be_renewed_until_somebody_takes_over() {
    for request_one in [request(1), at_most_once(1)] {
        let (mut slot, grant) = Slot::granted(&request_one);
        slot.pass(LEASE * 10);
        assert_eq!(slot.renew(&grant, LEASE), Update::Applied);
        assert!(matches!(slot.claim(&request(2)), Claim::Busy { .. }));
    }

    let (mut slot, grant) = Slot::granted(&request(1));
    slot.pass(LEASE);
    let second = slot.grant(&request(2));
    let before = slot.record.clone();
    let found = slot.found(&grant);
    assert_eq!(slot.renew(&grant, LEASE), Update::Lost(Some(found.clone())));
    assert_eq!(slot.record, before);
    assert_eq!((found.same_owner, found.fence), (false, second.fence));
}

/// C3: a secret from an earlier life of the key is not enough.
#[test]
fn a_renewal_shows_owner_and_fence() {
    let (mut slot, grant) = Slot::granted(&request(1));
    let other_owner = Grant {
        owner: owner(2),
        ..grant.clone()
    };
    let other_fence = Grant {
        fence: Fence::from_u64(grant.fence.as_u64() + 1),
        ..grant.clone()
    };
    let before = slot.record.clone();
    for wrong in [other_owner, other_fence] {
        assert!(matches!(slot.renew(&wrong, LEASE), Update::Lost(Some(_))));
        assert_eq!(slot.record, before);
    }
}

/// C3: there is nothing to renew but an attempt in progress.
#[test]
fn only_an_attempt_in_progress_is_renewed() {
    for (state, mut slot, grant) in every_state() {
        let before = slot.record.clone();
        let renewed = slot.renew(&grant, LEASE);
        if slot.record().state == State::InProgress {
            assert_eq!(renewed, Update::Applied, "{state}");
        } else {
            let found = slot.found(&grant);
            assert!(found.same_owner);
            assert_eq!(renewed, Update::Lost(Some(found)), "{state}");
            assert_eq!(slot.record, before, "{state}");
        }
    }
}
