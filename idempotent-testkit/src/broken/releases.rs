//! What goes wrong with releases and steps.

use idempotent_core::protocol::{
    Failures, Grant, Operation, ReleaseMode, Reply, StepReply, Update,
};
use idempotent_core::{Ending, Record, State};

use super::Defect;
use super::completions::{as_text, refuse, refuse_after_the_lease};
use super::hook::has_lapsed;
use crate::faults::Op;

pub(super) const DEFECTS: &[Defect] = &[
    // Who releases.
    Defect::before(
        "a release is unconditional",
        &["a_late_owner_cannot_release"],
        |before| {
            if let Some((record, mut shown)) = before.write(Op::Release) {
                shown.forge(record);
            }
        },
    ),
    Defect::before(
        "a release shows its owner only",
        &["a_release_shows_owner_and_fence"],
        |before| {
            if let Some((record, mut shown)) = before.write(Op::Release)
                && shown.holder().owner == record.owner
            {
                shown.forge(record);
            }
        },
    ),
    Defect::after(
        "a release without a fence is refused",
        &["an_owner_without_a_fence_may_release"],
        |after| {
            if let Operation::Release { holder, .. } = after.operation
                && holder.fence.is_none()
            {
                refuse(after);
            }
        },
    ),
    Defect::after(
        "a release after the lease is refused",
        &["an_expired_lease_can_be_released"],
        |after| refuse_after_the_lease(after, Op::Release),
    ),
    Defect::after(
        "a doubt cannot be released",
        &[
            "the_silent_owner_may_release",
            "a_doubt_can_be_resolved_as_not_executed",
        ],
        |after| {
            if after.is(Op::Release)
                && after
                    .before
                    .is_some_and(|record| record.state == State::InDoubt)
            {
                refuse(after);
            }
        },
    ),
    // What a release leaves.
    Defect::after(
        "a release deletes",
        &[
            "a_release_leaves_a_tombstone",
            "steps_are_handed_over_after_every_release",
            "attempts_and_failures_are_counted_apart",
            "claims_racing_releases_never_run_together",
        ],
        |after| {
            if after
                .slot
                .as_ref()
                .is_some_and(|record| record.state == State::Released)
            {
                *after.slot = None;
            }
        },
    ),
    Defect::after(
        "a release deletes a result",
        &["a_result_is_not_released"],
        |after| {
            if after.is(Op::Release)
                && after
                    .before
                    .is_some_and(|record| record.state.is_finished())
            {
                *after.slot = None;
            }
        },
    ),
    Defect::after(
        "a release does not say why",
        &["a_released_record_is_taken_over_with_its_reason"],
        |after| {
            if let Some((_, record, _)) = after.of(Op::Release)
                && record.ending.is_some_and(|ending| ending != Ending::Clean)
            {
                record.ending = Some(Ending::Expired);
            }
        },
    ),
    Defect::before(
        "every release is a failure",
        &[
            "only_failures_are_counted",
            "attempts_and_failures_are_counted_apart",
        ],
        |before| {
            if let Operation::Release { release, .. } = before.operation {
                release.failures = Failures::Count;
            }
        },
    ),
    Defect::before(
        "the count of failures never begins anew",
        &["a_release_says_what_becomes_of_the_count_of_failures"],
        |before| {
            if let Operation::Release { release, .. } = before.operation
                && release.failures == Failures::Reset
            {
                release.failures = Failures::Keep;
            }
        },
    ),
    Defect::after(
        "a clean release begins the history anew",
        &["an_attempt_that_never_began_hides_nothing"],
        |after| {
            if let Some((_, record, _)) = after.of(Op::Release)
                && record.ending == Some(Ending::Clean)
            {
                (record.attempt, record.failures, record.previous) = (1, 0, None);
                record.steps.clear();
            }
        },
    ),
    Defect::after(
        "a repeated release counts again",
        &["a_repeated_release_is_told_so"],
        |after| {
            if let Some((_, record, Reply::Update(Update::Repeated))) = after.of(Op::Release) {
                record.failures += 1;
            }
        },
    ),
    Defect::after(
        "a release of nothing is a repetition",
        &["there_is_nothing_to_release_where_there_is_nothing"],
        |after| {
            if after.is(Op::Release) && after.before.is_none() {
                *after.reply = Reply::Update(Update::Repeated);
            }
        },
    ),
    // Notes.
    Defect::after(
        "a note ends the lease",
        &["a_note_changes_nothing_but_the_ending"],
        |after| {
            let Operation::Release { release, .. } = after.operation else {
                return;
            };
            if let Some(record) = after.slot
                && record.state == State::InProgress
                && release.mode == ReleaseMode::Note
            {
                record.expires_at = after.now.plus(record.keep);
            }
        },
    ),
    Defect::after(
        "a note overwrites the reason of a release",
        &["a_note_comes_too_late_for_a_tombstone"],
        |after| {
            let Operation::Release { release, .. } = after.operation else {
                return;
            };
            if let Some((before, record, _)) = after.of(Op::Release)
                && before.state == State::Released
            {
                record.ending = Some(release.ending);
            }
        },
    ),
    // Steps.
    Defect::before(
        "a step overwrites",
        &["the_first_value_of_a_step_wins"],
        |before| {
            let name = before.step().map(|step| step.name.clone());
            if let (Some(record), Some(name)) = (before.slot.as_mut(), name) {
                record.steps.retain(|step| step.name != name);
            }
        },
    ),
    Defect::after(
        "steps are in the order of their names",
        &["steps_are_kept_in_their_order"],
        |after| {
            if let Some((_, record, _)) = after.of(Op::RecordStep) {
                record.steps.sort_by(|one, other| one.name.cmp(&other.name));
            }
        },
    ),
    Defect::after(
        "a step does not renew the lease",
        &["recording_a_step_renews_the_lease"],
        |after| {
            if let Some((before, record, _)) = after.of(Op::RecordStep) {
                record.expires_at = before.expires_at;
            }
        },
    ),
    Defect::before(
        "a step is unconditional",
        &["a_late_owner_cannot_record_a_step"],
        |before| {
            if let Some((record, mut shown)) = before.write(Op::RecordStep) {
                shown.forge(record);
            }
        },
    ),
    Defect::before(
        "a step shows its owner only",
        &["a_step_shows_owner_and_fence"],
        |before| {
            if let Some((record, mut shown)) = before.write(Op::RecordStep)
                && shown.holder().owner == record.owner
            {
                shown.forge(record);
            }
        },
    ),
    Defect::after(
        "a step is recorded in any state",
        &["steps_are_recorded_in_progress_only"],
        |after| {
            let Operation::RecordStep { grant, step, .. } = after.operation else {
                return;
            };
            let holds = |record: &&mut Record| record.fence == grant.fence;
            if let Some(record) = after.slot.as_mut().filter(holds)
                && record.state != State::InProgress
            {
                record.steps.push(step.clone());
                *after.reply = Reply::Step(StepReply::Recorded);
            }
        },
    ),
    Defect::after(
        "a step after the lease is refused",
        &["a_step_can_be_recorded_after_an_expired_lease"],
        |after| {
            if after.is(Op::RecordStep)
                && after
                    .before
                    .is_some_and(|record| has_lapsed(record, after.now))
            {
                after.refuse(Reply::Step(StepReply::Lost(None)));
            }
        },
    ),
    Defect::before("a step heals", &["a_step_does_not_heal"], |before| {
        if let Operation::RecordStep { grant, .. } = before.operation
            && before.slot.is_none()
        {
            *before.slot = Some(made_up(grant));
        }
    }),
    Defect::before("a step is text", &["steps_are_bytes"], |before| {
        if let Some(step) = before.step() {
            step.value = as_text(&step.value);
        }
    }),
    Defect::before("a step is cut off", &["large_steps_survive"], |before| {
        if let Some(step) = before.step() {
            step.value.truncate(usize::from(u16::MAX));
        }
    }),
    Defect::after(
        "there are 64 steps at most",
        &["many_steps_survive"],
        |after| {
            if let Some(record) = after.slot {
                record.steps.truncate(64);
            }
        },
    ),
    // Doubts.
    Defect::before(
        "a release by anybody resolves the doubt",
        &["nobody_else_may_settle_the_doubt"],
        |before| {
            if let Some((record, mut shown)) = before.write(Op::Release)
                && record.state == State::InDoubt
            {
                shown.forge(record);
            }
        },
    ),
];

fn made_up(grant: &Grant) -> Record {
    let mut record = Record::new(grant.owner, grant.fence, grant.fingerprint);
    record.keep = grant.keep;
    record.expires_at = grant.fence.granted_at().plus(grant.keep * 2);
    record
}
