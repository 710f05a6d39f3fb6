//! What goes wrong with takeovers and doubts.

use idempotent_core::protocol::{Claim, Reply};
use idempotent_core::{Ending, State};

use super::Defect;
use super::hook::has_lapsed;
use crate::faults::Op;

pub(super) const DEFECTS: &[Defect] = &[
    Defect::before(
        "an expired lease is never taken over",
        &["an_expired_lease_is_taken_over_as_the_next_attempt"],
        |before| {
            let now = before.now;
            if let Some((record, request)) = before.claim()
                && record.owner != request.owner
                && has_lapsed(record, now)
            {
                record.expires_at = now.plus(record.keep).plus(request.lease);
            }
        },
    ),
    Defect::after(
        "a silent attempt is no failure",
        &[
            "an_expired_lease_is_taken_over_as_the_next_attempt",
            "a_note_is_handed_over",
        ],
        |after| {
            let failures = after.before.map(|record| record.failures);
            if let (Some(failures), Some((record, grant))) = (failures, after.granted()) {
                (record.failures, grant.failures) = (failures, failures);
            }
        },
    ),
    Defect::before(
        "the lease is the record's expiry",
        &[
            "an_orphan_is_remembered_after_its_lease",
            "steps_are_handed_over_after_an_expired_lease",
        ],
        |before| {
            if before
                .slot
                .as_ref()
                .is_some_and(|record| has_lapsed(record, before.now))
            {
                *before.slot = None;
            }
        },
    ),
    Defect::before(
        "an attempt that never began counts",
        &["an_attempt_that_never_began_does_not_count"],
        |before| {
            if let Some((record, _)) = before.claim()
                && record.state == State::Released
            {
                record.ending = record.ending.filter(|ending| *ending != Ending::Clean);
            }
        },
    ),
    Defect::after(
        "a takeover brings no policy of its own",
        &["a_takeover_brings_its_own_policy"],
        |after| {
            if let Some(before) = after.before.cloned()
                && let Some((record, grant)) = after.granted()
            {
                (record.keep, grant.keep) = (before.keep, before.keep);
                record.at_most_once = before.at_most_once;
                grant.at_most_once = before.at_most_once;
            }
        },
    ),
    Defect::after(
        "a takeover forgets who waits",
        &[
            "a_takeover_keeps_the_waiters",
            "a_takeover_keeps_waiters_informed",
        ],
        |after| {
            if let Some((record, _)) = after.granted() {
                record.waiter = false;
            }
        },
    ),
    Defect::after(
        "a takeover drops the steps",
        &[
            "steps_are_handed_over_after_an_expired_lease",
            "steps_are_handed_over_after_every_release",
        ],
        |after| {
            if let Some((before, record, Reply::Claim(Claim::Granted(grant)))) = after.of(Op::Claim)
                && before.fence != record.fence
            {
                record.steps.clear();
                grant.steps.clear();
            }
        },
    ),
    Defect::before(
        "a takeover does not read the note",
        &["a_note_is_handed_over"],
        |before| {
            let now = before.now;
            if let Some((record, _)) = before.claim()
                && has_lapsed(record, now)
            {
                record.ending = None;
            }
        },
    ),
    // Doubts.
    Defect::before(
        "the caller's at most once is ignored",
        &["an_expired_lease_is_in_doubt_if_either_policy_says_so"],
        |before| {
            if let Some((_, request)) = before.claim() {
                request.at_most_once = false;
            }
        },
    ),
    Defect::before(
        "the record's at most once is ignored",
        &[
            "an_expired_lease_is_in_doubt_if_either_policy_says_so",
            "concurrent_claims_of_a_silent_key_leave_one_doubt",
        ],
        |before| {
            if let Some((record, _)) = before.claim() {
                record.at_most_once = false;
            }
        },
    ),
    Defect::before(
        "a released record is in doubt",
        &["a_released_record_is_never_in_doubt"],
        |before| {
            if let Some((record, _)) = before.claim()
                && record.state == State::Released
                && record.at_most_once
            {
                record.state = State::InDoubt;
            }
        },
    ),
    Defect::after(
        "a doubt does not say how the attempt ended",
        &["a_doubt_tells_how_the_attempt_ended"],
        |after| {
            if let Reply::Claim(Claim::InDoubt(doubt)) = after.reply {
                doubt.ending = Ending::Expired;
            }
        },
    ),
    Defect::before(
        "a caller that may run again resolves the doubt",
        &["a_doubt_stays_until_it_is_resolved"],
        |before| {
            if let Some((record, request)) = before.claim()
                && record.state == State::InDoubt
                && !request.at_most_once
            {
                record.state = State::Released;
            }
        },
    ),
];
