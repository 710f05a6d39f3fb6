use super::*;

fn lapsed(first: &ClaimRequest) -> (Slot, Grant) {
    let (mut slot, grant) = Slot::granted(first);
    slot.pass(first.lease);
    (slot, grant)
}

fn in_doubt() -> (Slot, Grant) {
    let (mut slot, grant) = lapsed(&at_most_once(1));
    assert!(matches!(slot.claim(&request(2)), Claim::InDoubt(_)));
    (slot, grant)
}

/// C1f: either policy is enough.
#[test]
fn an_expired_lease_is_in_doubt_by_the_records_or_the_callers_policy() {
    let policies = [
        (at_most_once(1), request(2)),
        (request(1), at_most_once(2)),
        (at_most_once(1), at_most_once(2)),
    ];
    for (first, second) in policies {
        let (mut slot, grant) = lapsed(&first);
        let Claim::InDoubt(doubt) = slot.claim(&second) else {
            panic!("not in doubt")
        };
        assert_eq!(doubt.ending, Ending::Expired);
        assert_eq!(doubt.grant.holder(), grant.holder());
        assert_eq!(doubt.grant.attempt, 1);

        let record = slot.record();
        assert_eq!(record.state, State::InDoubt);
        assert_eq!((record.owner, record.fence), (grant.owner, grant.fence));
    }
}

/// C1f.
#[test]
fn a_lease_is_not_in_doubt_before_its_end() {
    let (mut slot, _) = Slot::granted(&at_most_once(1));
    slot.pass(just_before(LEASE));
    assert_eq!(
        slot.claim(&request(2)),
        Claim::Busy {
            remaining: MICRO,
            attempt: 1
        }
    );
    slot.pass(MICRO);
    assert!(matches!(slot.claim(&request(2)), Claim::InDoubt(_)));
}

/// The owner said how it was ending, which may help whoever resolves the doubt.
#[test]
fn a_doubt_tells_how_the_attempt_ended() {
    let (mut slot, grant) = Slot::granted(&at_most_once(1));
    slot.release(&grant, Ending::Panicked, ReleaseMode::Note);
    slot.pass(LEASE);
    let Claim::InDoubt(doubt) = slot.claim(&request(2)) else {
        panic!("not in doubt")
    };
    assert_eq!(doubt.ending, Ending::Panicked);
}

#[test]
fn a_doubt_stays_until_it_is_resolved() {
    let (mut slot, _) = in_doubt();
    let before = slot.record.clone();
    slot.pass(LEASE * 100);
    for caller in [request(3), at_most_once(3), waiting(4), request(1)] {
        assert!(matches!(slot.claim(&caller), Claim::InDoubt(_)));
        assert_eq!(slot.record, before);
    }
}

/// C5: a doubt is forgotten `keep` after it arose, however long the owner had been silent by then.
#[test]
fn a_doubt_is_kept_from_when_it_arose() {
    let (mut slot, grant) = Slot::granted(&at_most_once(1));
    slot.pass(LEASE * 5);
    assert!(matches!(slot.claim(&request(2)), Claim::InDoubt(_)));
    assert_eq!(slot.record().expires_at, slot.now.plus(grant.keep));
}

/// Waiting: nobody waits for a doubt. Those who did are told.
#[test]
fn a_doubt_ends_the_waiting() {
    let (mut slot, _) = Slot::granted(&at_most_once(1));
    slot.claim(&waiting(3));
    assert!(slot.record().waiter);
    slot.pass(LEASE);
    slot.claim(&waiting(2));
    assert!(!slot.record().waiter);
}

/// C7: the owner who is heard of after all settles the doubt.
#[test]
fn the_silent_owner_may_complete() {
    let (mut slot, grant) = in_doubt();
    slot.pass(LEASE);
    assert_eq!(slot.complete(&grant, &value("paid")), Update::Applied);
    assert!(matches!(slot.claim(&request(2)), Claim::Done(_)));
}

/// C7: but it may not go on as if nothing had happened.
#[test]
fn the_silent_owner_may_not_renew() {
    let (mut slot, grant) = in_doubt();
    assert!(matches!(slot.renew(&grant, LEASE), Update::Lost(Some(_))));
    let step = step("charge", "ch_1");
    assert!(matches!(
        slot.step(&grant, &step, LEASE),
        StepReply::Lost(Some(_))
    ));
    assert_eq!(slot.record().state, State::InDoubt);
}

/// C3.
#[test]
fn nobody_else_may_settle_the_doubt() {
    let (mut slot, grant) = in_doubt();
    let other_owner = Grant {
        owner: owner(3),
        ..grant.clone()
    };
    let other_fence = Grant {
        fence: Fence::from_u64(grant.fence.as_u64() + 1),
        ..grant
    };
    for wrong in [other_owner, other_fence] {
        assert!(matches!(
            slot.complete(&wrong, &value("paid")),
            Update::Lost(Some(_))
        ));
        let freed = slot.release(&wrong, Ending::Expired, ReleaseMode::Free);
        assert!(matches!(freed, Update::Lost(Some(_))));
        assert_eq!(slot.record().state, State::InDoubt);
    }
}

/// Resolution: the effect happened.
#[test]
fn a_doubt_is_resolved_with_a_value_under_the_grant_that_it_names() {
    let (mut slot, _) = in_doubt();
    let doubt = Doubt::of(slot.record());
    assert_eq!(slot.complete(&doubt.grant, &value("paid")), Update::Applied);
    let Claim::Done(recorded) = slot.claim(&request(3)) else {
        panic!("not done")
    };
    assert_eq!(recorded.payload, payload("paid"));
}

/// Resolution and P2: the silent owner comes back after somebody has answered for it.
#[test]
fn a_resolved_doubt_is_not_resolved_again() {
    let (mut slot, grant) = in_doubt();
    let doubt = Doubt::of(slot.record());
    slot.complete(&doubt.grant, &value("paid"));

    let late = slot.complete(&grant, &value("paid after all"));
    assert!(matches!(late, Update::Lost(Some(found)) if found.recorded.is_some()));
    let freed = slot.release(&doubt.grant, doubt.ending, ReleaseMode::Free);
    assert!(matches!(freed, Update::Lost(Some(_))));
    assert_eq!(slot.record().result, payload("paid"));
}

/// Resolution: the effect did not happen.
#[test]
fn a_doubt_that_is_resolved_as_not_executed_lets_the_next_caller_run() {
    let (mut slot, grant) = in_doubt();
    let doubt = Doubt::of(slot.record());
    let freed = slot.release(&doubt.grant, doubt.ending, ReleaseMode::Free);
    assert_eq!(freed, Update::Applied);

    let next = slot.grant(&at_most_once(3));
    assert_eq!((next.attempt, next.previous), (2, Some(Ending::Expired)));
    let late = slot.complete(&grant, &value("paid after all"));
    assert!(matches!(late, Update::Lost(Some(_))));
}

/// A released record is not in doubt: the owner itself gave it up.
#[test]
fn a_released_record_is_never_in_doubt() {
    for ending in Ending::ALL {
        let (mut slot, grant) = Slot::granted(&at_most_once(1));
        slot.release(&grant, ending, ReleaseMode::Free);
        assert!(
            matches!(slot.claim(&at_most_once(2)), Claim::Granted(_)),
            "{ending:?}"
        );
    }
}
