use super::*;
use crate::protocol::Holder;

const MODES: [ReleaseMode; 3] = [ReleaseMode::Free, ReleaseMode::Hold, ReleaseMode::Note];

/// C6.
#[test]
fn a_release_leaves_a_tombstone() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.step(&grant, &step("charge", "ch_1"), LEASE);
    slot.claim(&waiting(2));
    slot.pass(LEASE / 2);
    let before = slot.record().clone();

    assert_eq!(
        slot.release(&grant, Ending::Error, ReleaseMode::Free),
        Update::Applied
    );
    let tombstone = Record {
        state: State::Released,
        ending: Some(Ending::Error),
        failures: 1,
        waiter: false,
        expires_at: slot.now.plus(before.keep),
        ..before
    };
    assert_eq!(*slot.record(), tombstone);
}

/// C6: forgotten `keep` after the release, to the microsecond.
#[test]
fn a_tombstone_is_kept_from_its_release() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.pass(LEASE * 2);
    slot.release(&grant, Ending::Error, ReleaseMode::Free);
    slot.pass(just_before(grant.keep));
    assert_eq!(slot.clone().grant(&request(2)).attempt, 2);
    slot.pass(MICRO);
    assert_eq!(slot.grant(&request(2)).attempt, 1);
}

/// A failure counts as one, unless the caller says otherwise.
#[test]
fn a_failure_is_counted() {
    for ending in Ending::ALL {
        let (mut slot, grant) = Slot::granted(&request(1));
        slot.release(&grant, ending, ReleaseMode::Free);
        let failures = match ending {
            Ending::Error | Ending::Expired | Ending::Panicked => 1,
            Ending::Cancelled | Ending::Clean | Ending::Healed | Ending::Stuck => 0,
        };
        assert_eq!(slot.record().failures, failures, "{ending:?}");
    }
}

/// A release may leave the count alone, or begin it anew.
#[test]
fn a_release_says_what_becomes_of_the_count_of_failures() {
    for (failures, count) in [
        (Failures::Count, 3),
        (Failures::Keep, 2),
        (Failures::Reset, 0),
    ] {
        let (mut slot, mut grant) = Slot::granted(&request(1));
        for again in 2..4 {
            slot.release(&grant, Ending::Error, ReleaseMode::Free);
            grant = slot.grant(&request(again));
        }
        let release = Release {
            failures,
            ..Release::new(Ending::Error, ReleaseMode::Free)
        };
        let holder = grant.holder();
        slot.update(&Operation::Release { holder, release });
        assert_eq!(slot.record().failures, count, "{failures:?}");
    }
}

#[test]
fn a_held_release_leaves_a_doubt() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.claim(&waiting(2));
    slot.pass(LEASE / 2);
    assert_eq!(
        slot.release(&grant, Ending::Error, ReleaseMode::Hold),
        Update::Applied
    );

    let record = slot.record();
    assert_eq!(record.state, State::InDoubt);
    assert_eq!(record.ending, Some(Ending::Error));
    assert_eq!(record.failures, 1);
    assert_eq!(record.expires_at, slot.now.plus(record.keep));
    assert!(!record.waiter);
    let Claim::InDoubt(doubt) = slot.claim(&request(2)) else {
        panic!("not in doubt")
    };
    assert_eq!(doubt.ending, Ending::Error);
}

#[test]
fn a_note_changes_nothing_but_the_ending() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.claim(&waiting(2));
    slot.pass(LEASE / 2);
    let before = slot.record().clone();

    assert_eq!(
        slot.release(&grant, Ending::Cancelled, ReleaseMode::Note),
        Update::Applied
    );
    let noted = Record {
        ending: Some(Ending::Cancelled),
        ..before
    };
    assert_eq!(*slot.record(), noted);

    assert_eq!(
        slot.release(&grant, Ending::Panicked, ReleaseMode::Note),
        Update::Applied
    );
    assert_eq!(
        slot.record().ending,
        Some(Ending::Panicked),
        "the last note counts"
    );
    assert!(matches!(slot.claim(&request(2)), Claim::Busy { .. }));
}

/// C4 for releases: the reply to the first one was lost.
#[test]
fn a_repeated_release_is_told_so_and_changes_nothing() {
    for mode in [ReleaseMode::Free, ReleaseMode::Hold] {
        let (mut slot, grant) = Slot::granted(&request(1));
        slot.release(&grant, Ending::Error, mode);
        let before = slot.record.clone();
        slot.pass(LEASE);
        assert_eq!(slot.release(&grant, Ending::Error, mode), Update::Repeated);
        assert_eq!(slot.record, before, "the failure counts once");
    }
}

/// C3: every mode from every state, by the holder.
#[test]
fn a_release_applies_only_where_it_makes_sense() {
    for (state, slot, grant) in every_state() {
        for mode in MODES {
            let mut slot = slot.clone();
            let before = slot.record().clone();
            let update = slot.release(&grant, Ending::Cancelled, mode);
            let applies = match before.state {
                State::InProgress => true,
                State::InDoubt => mode == ReleaseMode::Free,
                State::Completed | State::Failed | State::Released => false,
            };
            let repeats = matches!(
                (before.state, mode),
                (State::InDoubt, ReleaseMode::Hold) | (State::Released, ReleaseMode::Free)
            );
            match update {
                Update::Applied => assert!(applies, "{state} {mode:?}"),
                Update::Repeated => assert!(repeats, "{state} {mode:?}"),
                Update::Lost(Some(found)) => {
                    assert!(!applies && !repeats, "{state} {mode:?}");
                    assert_eq!(
                        found,
                        Found::of(&before, grant.owner, slot.now),
                        "{state} {mode:?}"
                    );
                }
                Update::Healed | Update::Lost(None) => panic!("{state} {mode:?}: {update:?}"),
            }
            if !applies {
                assert_eq!(*slot.record(), before, "{state} {mode:?}");
            }
        }
    }
}

/// C3: every mode from every state, by strangers.
#[test]
fn a_release_shows_owner_and_fence() {
    for (state, slot, grant) in every_state() {
        let other_fence = Fence::from_u64(grant.fence.as_u64() + 1);
        let strangers = [
            Holder {
                owner: owner(2),
                fence: Some(grant.fence),
            },
            Holder {
                owner: owner(2),
                fence: None,
            },
            Holder {
                owner: grant.owner,
                fence: Some(other_fence),
            },
        ];
        for (holder, mode) in strangers
            .iter()
            .flat_map(|holder| MODES.map(|mode| (*holder, mode)))
        {
            let mut slot = slot.clone();
            let before = slot.record.clone();
            let release = Release::new(Ending::Error, mode);
            let update = slot.update(&Operation::Release { holder, release });
            assert!(
                matches!(update, Update::Lost(Some(_))),
                "{state} {mode:?} {holder:?}"
            );
            assert_eq!(slot.record, before, "{state} {mode:?} {holder:?}");
        }
    }
}

/// The reply to the claim never came, so the owner does not know its fence.
#[test]
fn an_owner_without_a_fence_may_release() {
    for mode in MODES {
        let (mut slot, grant) = Slot::granted(&request(1));
        let holder = Holder {
            owner: grant.owner,
            fence: None,
        };
        let release = Release::new(Ending::Clean, mode);
        let update = slot.update(&Operation::Release { holder, release });
        assert_eq!(update, Update::Applied, "{mode:?}");
    }
}

/// P3: a late owner's error does not free what its successor holds.
#[test]
fn a_late_owner_cannot_release_its_successor() {
    let (mut slot, late) = Slot::granted(&request(1));
    slot.pass(LEASE);
    slot.grant(&request(2));
    let before = slot.record.clone();
    for mode in MODES {
        assert!(matches!(
            slot.release(&late, Ending::Error, mode),
            Update::Lost(Some(_))
        ));
        assert_eq!(
            slot.record, before,
            "a release that comes late is not even counted"
        );
    }
}

/// C7.
#[test]
fn an_expired_lease_can_be_released_until_somebody_takes_over() {
    let (mut slot, grant) = Slot::granted(&request(1));
    slot.pass(LEASE * 2);
    assert_eq!(
        slot.release(&grant, Ending::Error, ReleaseMode::Free),
        Update::Applied
    );
}

/// C10: only renewing and completing heal.
#[test]
fn there_is_nothing_to_release_where_there_is_nothing() {
    for mode in MODES {
        let (mut slot, grant) = Slot::granted(&request(1));
        slot.record = None;
        assert_eq!(
            slot.release(&grant, Ending::Error, mode),
            Update::Lost(None),
            "{mode:?}"
        );
        assert_eq!(slot.record, None);
    }
}
