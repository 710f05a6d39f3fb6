//! What goes wrong with completions.

use bytes::Bytes;
use idempotent_core::protocol::{Found, Operation, Reply, Update};
use idempotent_core::{CodecId, Payload, Record, State};

use super::Defect;
use super::hook::{After, has_lapsed};
use crate::faults::Op;

pub(super) const DEFECTS: &[Defect] = &[
    // Who completes.
    Defect::before(
        "a completion is unconditional",
        &[
            "a_late_owner_cannot_complete",
            "a_late_owner_is_given_the_winners_result",
            "completions_racing_takeovers_have_one_winner",
            "callers_that_crash_and_retry_agree_on_one_value",
        ],
        |before| {
            if let Some((record, mut shown)) = before.write(Op::Complete) {
                shown.forge(record);
                record.state = State::InProgress;
            }
        },
    ),
    Defect::before(
        "a completion shows its fence only",
        &["a_completion_shows_its_owner"],
        |before| {
            if let Some((record, mut shown)) = before.write(Op::Complete)
                && shown.holder().fence == Some(record.fence)
            {
                shown.forge(record);
            }
        },
    ),
    Defect::before(
        "a completion shows its owner only",
        &["a_completion_shows_its_fence"],
        |before| {
            if let Some((record, mut shown)) = before.write(Op::Complete)
                && shown.holder().owner == record.owner
            {
                shown.forge(record);
            }
        },
    ),
    Defect::before(
        "a completion does not look at the state",
        &[
            "a_released_call_cannot_complete",
            "a_second_result_is_refused",
        ],
        |before| {
            if let Some((record, shown)) = before.write(Op::Complete)
                && shown.holds(record)
            {
                record.state = State::InProgress;
            }
        },
    ),
    Defect::before(
        "a tombstone can be completed by anybody",
        &["a_late_owner_cannot_complete_over_a_tombstone"],
        |before| {
            if let Some((record, mut shown)) = before.write(Op::Complete)
                && record.state == State::Released
            {
                record.state = State::InProgress;
                shown.forge(record);
            }
        },
    ),
    Defect::before(
        "a doubt can be completed by anybody",
        &["nobody_else_may_settle_the_doubt"],
        |before| {
            if let Some((record, mut shown)) = before.write(Op::Complete)
                && record.state == State::InDoubt
            {
                shown.forge(record);
            }
        },
    ),
    Defect::after(
        "a doubt cannot be completed",
        &[
            "the_silent_owner_may_complete",
            "a_doubt_can_be_resolved_with_a_value",
        ],
        |after| {
            if after.is(Op::Complete)
                && after
                    .before
                    .is_some_and(|record| record.state == State::InDoubt)
            {
                refuse(after);
            }
        },
    ),
    Defect::after(
        "a completion after the lease is refused",
        &["an_expired_lease_can_be_completed"],
        |after| refuse_after_the_lease(after, Op::Complete),
    ),
    // What a completion leaves.
    Defect::after(
        "the ttl counts from the claim",
        &["a_result_is_kept_for_its_ttl_from_completion"],
        |after| {
            let Operation::Complete { completion, .. } = after.operation else {
                return;
            };
            if let Some(record) = after.slot
                && *after.reply == Reply::Update(Update::Applied)
            {
                record.expires_at = record.fence.granted_at().plus(completion.ttl);
            }
        },
    ),
    Defect::after(
        "a completion keeps the steps",
        &["a_finished_record_keeps_no_steps_and_no_waiter"],
        |after| {
            if let Some((before, record, _)) = after.of(Op::Complete) {
                record.steps.clone_from(&before.steps);
            }
        },
    ),
    Defect::after(
        "a completion without a result is none",
        &["a_completion_without_a_result_is_a_completion"],
        |after| {
            if let Operation::Complete { completion, .. } = after.operation
                && completion.payload.codec == CodecId::NONE
            {
                *after.slot = after.before.cloned();
            }
        },
    ),
    Defect::before(
        "an empty result is a missing one",
        &["an_empty_result_is_a_result"],
        |before| {
            if let Operation::Complete { completion, .. } = before.operation
                && completion.payload.bytes.is_empty()
            {
                completion.payload = Payload {
                    codec: CodecId::JSON,
                    bytes: Bytes::from("null"),
                };
            }
        },
    ),
    Defect::before("a result is text", &["results_are_bytes"], |before| {
        if let Operation::Complete { completion, .. } = before.operation {
            completion.payload.bytes = as_text(&completion.payload.bytes);
        }
    }),
    Defect::before(
        "a result is cut off",
        &["a_large_result_survives"],
        |before| {
            if let Operation::Complete { completion, .. } = before.operation {
                completion.payload.bytes.truncate(usize::from(u16::MAX));
            }
        },
    ),
    Defect::before("a codec has two digits", &["the_codec_is_kept"], |before| {
        if let Operation::Complete { completion, .. } = before.operation {
            let number = completion.payload.codec.as_u16() % 100;
            completion.payload.codec = CodecId::new(number).unwrap_or_default();
        }
    }),
    // A completion again.
    Defect::after(
        "a repeated completion is lost",
        &["a_repeated_completion_is_told_so"],
        |after| {
            if *after.reply == Reply::Update(Update::Repeated) {
                refuse(after);
            }
        },
    ),
    Defect::after(
        "a repeated completion moves the ttl",
        &["a_repeated_completion_is_told_so"],
        |after| {
            let Operation::Complete { completion, .. } = after.operation else {
                return;
            };
            if let Some(record) = after.slot
                && *after.reply == Reply::Update(Update::Repeated)
            {
                record.expires_at = after.now.plus(completion.ttl);
            }
        },
    ),
    Defect::after(
        "a repetition is known by its result",
        &["a_late_owner_with_an_equal_result_is_late_all_the_same"],
        |after| {
            let Operation::Complete { completion, .. } = after.operation else {
                return;
            };
            if after
                .before
                .is_some_and(|record| record.result == completion.payload)
            {
                after.refuse(Reply::Update(Update::Repeated));
            }
        },
    ),
    Defect::after(
        "late completions are not counted",
        &["late_completions_are_counted"],
        |after| {
            if let Some((before, record, _)) = after.of(Op::Complete) {
                record.late = before.late;
            }
        },
    ),
    Defect::after(
        "a late owner is not told what counts",
        &["a_late_owner_is_given_the_winners_result"],
        |after| {
            if let Reply::Update(Update::Lost(Some(found))) = after.reply {
                found.recorded = None;
            }
        },
    ),
];

/// Undoes a write of this kind if the lease was over.
pub(super) fn refuse_after_the_lease(after: &mut After<'_>, op: Op) {
    if after.is(op)
        && after
            .before
            .is_some_and(|record| has_lapsed(record, after.now))
    {
        refuse(after);
    }
}

/// Undoes the operation, and says that the lease was lost.
pub(super) fn refuse(after: &mut After<'_>) {
    let owner = match after.operation {
        Operation::Complete { grant, .. }
        | Operation::RecordStep { grant, .. }
        | Operation::Renew { grant, .. } => grant.owner,
        Operation::Release { holder, .. } => holder.owner,
        _ => return,
    };
    let found = |record: &Record| Found::of(record, owner, after.now);
    let lost = after.before.map(found);
    after.refuse(Reply::Update(Update::Lost(lost)));
}

/// What is left of bytes that somebody takes for text.
pub(super) fn as_text(bytes: &Bytes) -> Bytes {
    String::from_utf8_lossy(bytes).into_owned().into()
}
