//! What goes wrong with claims.

use std::time::Duration;

use idempotent_core::protocol::{Claim, Operation, Reply};
use idempotent_core::{Ending, Fence, Owner, State};

use super::Defect;
use super::hook::has_lapsed;
use crate::faults::Op;

pub(super) const DEFECTS: &[Defect] = &[
    // What is granted.
    Defect::after(
        "attempts count from zero",
        &["an_absent_key_is_granted_as_the_first_attempt"],
        |after| {
            if after.before.is_none()
                && let Some((record, grant)) = after.granted()
            {
                (record.attempt, grant.attempt) = (0, 0);
            }
        },
    ),
    Defect::after(
        "a takeover keeps the fence",
        &[
            "fences_rise_with_every_grant",
            "fences_rise_over_an_expired_lease",
        ],
        |after| {
            if let Some(fence) = after.before.map(|record| record.fence)
                && let Some((record, grant)) = after.granted()
            {
                (record.fence, grant.fence) = (fence, fence);
            }
        },
    ),
    Defect::after(
        "fences are a counter in the record",
        &[
            "fences_rise_over_a_lost_record",
            "fences_rise_over_an_expired_record",
            "fences_are_near_the_stores_clock",
        ],
        |after| {
            let last = after.before.map_or(0, |record| record.fence.as_u64());
            if let Some((record, grant)) = after.granted() {
                record.fence = Fence::from_u64(last + 1);
                grant.fence = record.fence;
            }
        },
    ),
    Defect::before(
        "durations are 32 bit milliseconds",
        &["durations_of_any_length_are_kept"],
        |before| {
            let longest = Duration::from_millis(1 << 31);
            if let Operation::Claim(request) = before.operation {
                request.lease = request.lease.min(longest);
                request.keep = request.keep.min(longest);
            }
        },
    ),
    // Replays.
    Defect::before(
        "a finished operation runs again",
        &[
            "a_completed_record_is_replayed",
            "a_recorded_error_is_replayed",
        ],
        |before| {
            if before
                .claim()
                .is_some_and(|(record, _)| record.state.is_finished())
            {
                *before.slot = None;
            }
        },
    ),
    Defect::after(
        "a recorded error is replayed as a value",
        &["a_recorded_error_is_replayed"],
        |after| {
            if let Reply::Claim(Claim::Done(recorded)) = after.reply {
                recorded.failed = false;
            }
        },
    ),
    Defect::after(
        "a result is not for its own owner",
        &["a_result_is_replayed_to_its_own_owner"],
        |after| {
            if let Operation::Claim(request) = after.operation
                && let Reply::Claim(Claim::Done(_)) = after.reply
                && after
                    .before
                    .is_some_and(|record| record.owner == request.owner)
            {
                *after.reply = Reply::Claim(Claim::Stale);
            }
        },
    ),
    Defect::before(
        "expired records are still there",
        &[
            "a_result_is_absent_after_its_ttl",
            "a_tombstone_is_forgotten_when_it_was_kept_long_enough",
            "an_orphan_is_forgotten_when_it_was_kept_long_enough",
        ],
        |before| {
            if let Some(record) = before.slot
                && record.is_expired(before.now)
            {
                record.expires_at = before.now.plus(record.keep);
            }
        },
    ),
    // The same owner again.
    Defect::before(
        "a repeated claim is a new attempt",
        &[
            "a_repeated_claim_gets_the_same_grant",
            "concurrent_claims_of_one_owner_get_one_grant",
        ],
        |before| {
            if let Some((record, request)) = before.claim()
                && record.owner == request.owner
            {
                record.state = State::Released;
                record.owner = Owner::from_bytes([0; 16]);
            }
        },
    ),
    Defect::before(
        "a repeated claim after the lease is a new attempt",
        &["a_repeated_claim_gets_the_same_grant_after_its_lease"],
        |before| {
            let now = before.now;
            if let Some((record, request)) = before.claim()
                && record.owner == request.owner
                && has_lapsed(record, now)
            {
                record.owner = Owner::from_bytes([0; 16]);
            }
        },
    ),
    Defect::after(
        "a repeated claim does not renew the lease",
        &["a_repeated_claim_renews_the_lease"],
        |after| {
            if let Some((before, record, _)) = after.of(Op::Claim)
                && before.fence == record.fence
            {
                record.expires_at = before.expires_at;
            }
        },
    ),
    Defect::after(
        "a repeated claim is not told of the steps",
        &["steps_are_in_the_same_grant_again"],
        |after| {
            if after
                .before
                .is_some_and(|record| record.state == State::InProgress)
                && let Some((_, grant)) = after.granted()
            {
                grant.steps.clear();
            }
        },
    ),
    Defect::after(
        "a claim revives its own released call",
        &["a_claim_after_its_own_release_is_stale"],
        |after| {
            if let Some((_, record, _)) = after.of(Op::Release)
                && record.state == State::Released
            {
                record.owner = Owner::from_bytes([0; 16]);
            }
        },
    ),
    // Busy.
    Defect::after(
        "busy does not say for how long",
        &["a_live_lease_is_busy"],
        |after| {
            if let Reply::Claim(Claim::Busy { remaining, .. }) = after.reply {
                *remaining = Duration::ZERO;
            }
        },
    ),
    Defect::after(
        "a busy claim counts as an attempt",
        &["a_busy_claim_changes_nothing"],
        |after| {
            if let Some((_, record, Reply::Claim(Claim::Busy { .. }))) = after.of(Op::Claim) {
                record.attempt += 1;
            }
        },
    ),
    Defect::after(
        "the last claim decides about the waiter flag",
        &["a_waiting_claim_leaves_its_flag"],
        |after| {
            let Operation::Claim(request) = after.operation else {
                return;
            };
            let wait = request.wait;
            if let Some((_, record, Reply::Claim(Claim::Busy { .. }))) = after.of(Op::Claim) {
                record.waiter = wait;
            }
        },
    ),
    // Mismatch.
    Defect::before(
        "arguments are compared only when there is a result",
        &[
            "other_arguments_are_a_mismatch_in_progress",
            "other_arguments_are_a_mismatch_after_the_lease",
        ],
        |before| {
            if let Some((record, request)) = before.claim()
                && record.state == State::InProgress
            {
                request.fingerprint = record.fingerprint;
            }
        },
    ),
    Defect::before(
        "arguments are compared only while there is no result",
        &["other_arguments_are_a_mismatch_after_the_result"],
        |before| {
            if let Some((record, request)) = before.claim()
                && record.state.is_finished()
            {
                request.fingerprint = record.fingerprint;
            }
        },
    ),
    Defect::before(
        "a release forgets the arguments",
        &["other_arguments_are_a_mismatch_after_a_release"],
        |before| {
            if let Some((record, request)) = before.claim()
                && record.state == State::Released
            {
                record.fingerprint = request.fingerprint;
            }
        },
    ),
    Defect::before(
        "a doubt forgets the arguments",
        &["other_arguments_are_a_mismatch_in_doubt"],
        |before| {
            if let Some((record, request)) = before.claim()
                && record.state == State::InDoubt
            {
                request.fingerprint = record.fingerprint;
            }
        },
    ),
    Defect::after(
        "arguments are kept after a clean release",
        &["other_arguments_may_use_a_key_after_a_clean_release"],
        |after| {
            if let Operation::Claim(request) = after.operation
                && after
                    .before
                    .is_some_and(|record| record.fingerprint != request.fingerprint)
            {
                after.refuse(Reply::Claim(Claim::Mismatch));
            }
        },
    ),
    Defect::before(
        "a clean release forgets the arguments of the attempt before",
        &["other_arguments_may_not_use_a_key_once_an_attempt_has_begun"],
        |before| {
            if let Some((record, request)) = before.claim()
                && record.ending == Some(Ending::Clean)
            {
                record.fingerprint = request.fingerprint;
            }
        },
    ),
];
