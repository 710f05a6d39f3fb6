use std::time::Duration;

use super::message::{
    Claim, ClaimRequest, Completion, Doubt, Found, Grant, Holder, Operation, Recorded, Release,
    ReleaseMode, Reply, StepReply, Update,
};
use crate::clock::Timestamp;
use crate::lease::Fence;
use crate::record::{Ending, Record, State, Step};

/// Applies `operation` to `record` at `now`, and says what the store answers.
///
/// This is the whole protocol. It reads no clock, draws no randomness and does no I/O: the same
/// arguments always give the same record and reply.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use idempotent_core::protocol::{Claim, ClaimRequest, Operation, Reply, apply};
/// use idempotent_core::{Fingerprint, Owner, Timestamp};
///
/// let lease = Duration::from_secs(30);
/// let ttl = Duration::from_secs(60 * 60 * 24);
/// let fingerprint = Fingerprint::of("3 apples")?;
/// let first = ClaimRequest::new(Owner::random()?, fingerprint, lease, ttl);
/// let second = ClaimRequest::new(Owner::random()?, fingerprint, lease, ttl);
///
/// let mut record = None;
/// let now = Timestamp::from_micros(1_000_000);
/// let reply = apply(&mut record, &Operation::Claim(first), now);
/// assert!(matches!(reply, Reply::Claim(Claim::Granted(grant)) if grant.attempt == 1));
///
/// let reply = apply(&mut record, &Operation::Claim(second), now);
/// assert_eq!(reply, Reply::Claim(Claim::Busy { remaining: lease, attempt: 1 }));
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub fn apply(record: &mut Option<Record>, operation: &Operation, now: Timestamp) -> Reply {
    match operation {
        Operation::Claim(request) => Reply::Claim(claim(record, request, now)),
        Operation::Complete { grant, completion } => {
            Reply::Update(complete(record, grant, completion, now))
        }
        Operation::RecordStep { grant, step, lease } => {
            Reply::Step(record_step(record, grant, step, *lease, now))
        }
        Operation::Release {
            holder,
            release: how,
        } => Reply::Update(release(record, holder, *how, now)),
        Operation::Renew { grant, lease } => Reply::Update(renew(record, grant, *lease, now)),
    }
}

pub(crate) fn claim(slot: &mut Option<Record>, request: &ClaimRequest, now: Timestamp) -> Claim {
    let Some(record) = live(slot, now) else {
        let record = slot.insert(first(request, now));
        return Claim::Granted(Grant::of(record, request));
    };
    let own = record.owner == request.owner;
    let same = record.fingerprint == request.fingerprint;

    if let Some(recorded) = Recorded::of(record, now) {
        return if same {
            Claim::Done(recorded)
        } else {
            Claim::Mismatch
        };
    }
    if record.state == State::InProgress && own {
        // The reply to an earlier try was lost.
        record.expires_at = now.plus(record.keep).plus(request.lease);
        return Claim::Granted(Grant::of(record, request));
    }
    if record.state == State::Released && own {
        return Claim::Stale;
    }
    if !same && !never_began(record) {
        return Claim::Mismatch;
    }
    if record.state == State::InDoubt {
        return Claim::InDoubt(Doubt::of(record));
    }
    if record.state == State::InProgress {
        let remaining = record.lease_until().since(now);
        if !remaining.is_zero() {
            record.waiter |= request.wait;
            return Claim::Busy {
                remaining,
                attempt: record.attempt,
            };
        }
        if record.at_most_once || request.at_most_once {
            record.state = State::InDoubt;
            record.waiter = false;
            record.expires_at = now.plus(record.keep);
            return Claim::InDoubt(Doubt::of(record));
        }
        let ending = record.ending.unwrap_or(Ending::Expired);
        record.ending = Some(ending);
        record.failures = record.failures.saturating_add(ending.is_failure().into());
    }
    take_over(record, request, now);
    Claim::Granted(Grant::of(record, request))
}

pub(crate) fn renew(
    slot: &mut Option<Record>,
    grant: &Grant,
    lease: Duration,
    now: Timestamp,
) -> Update {
    let Some(record) = live(slot, now) else {
        if !can_heal(grant, now) {
            return Update::Lost(None);
        }
        slot.insert(healed(grant)).expires_at = now.plus(grant.keep).plus(lease);
        return Update::Healed;
    };
    if record.state != State::InProgress || !holds(record, grant.holder()) {
        return Update::Lost(Some(Found::of(record, grant.owner, now)));
    }
    record.expires_at = now.plus(record.keep).plus(lease);
    Update::Applied
}

pub(crate) fn record_step(
    slot: &mut Option<Record>,
    grant: &Grant,
    step: &Step,
    lease: Duration,
    now: Timestamp,
) -> StepReply {
    let Some(record) = live(slot, now) else {
        return StepReply::Lost(None);
    };
    if record.state != State::InProgress || !holds(record, grant.holder()) {
        return StepReply::Lost(Some(Found::of(record, grant.owner, now)));
    }
    record.expires_at = now.plus(record.keep).plus(lease);
    if let Some(known) = record.steps.iter().find(|known| known.name == step.name) {
        return StepReply::Known(known.value.clone());
    }
    record.steps.push(step.clone());
    StepReply::Recorded
}

pub(crate) fn complete(
    slot: &mut Option<Record>,
    grant: &Grant,
    completion: &Completion,
    now: Timestamp,
) -> Update {
    let Some(record) = live(slot, now) else {
        if !can_heal(grant, now) {
            return Update::Lost(None);
        }
        finish(slot.insert(healed(grant)), completion, now);
        return Update::Healed;
    };
    let holds = holds(record, grant.holder());
    match record.state {
        // An owner who is heard of after all settles the doubt.
        State::InDoubt | State::InProgress if holds => {
            finish(record, completion, now);
            Update::Applied
        }
        // Only the very same result is a repetition: the doubt that this owner left may have been
        // resolved with another.
        State::Completed | State::Failed if holds && has_result(record, completion) => {
            Update::Repeated
        }
        State::Completed | State::Failed | State::InDoubt | State::InProgress | State::Released => {
            record.late = record.late.saturating_add(1);
            Update::Lost(Some(Found::of(record, grant.owner, now)))
        }
    }
}

pub(crate) fn release(
    slot: &mut Option<Record>,
    holder: &Holder,
    how: Release,
    now: Timestamp,
) -> Update {
    let Some(record) = live(slot, now) else {
        return Update::Lost(None);
    };
    let holds = holds(record, *holder);
    let state = match (record.state, how.mode) {
        (State::InProgress, ReleaseMode::Note) if holds => {
            record.ending = Some(how.ending);
            return Update::Applied;
        }
        (State::InDoubt | State::InProgress, ReleaseMode::Free) if holds => State::Released,
        (State::InProgress, ReleaseMode::Hold) if holds => State::InDoubt,
        (State::InDoubt, ReleaseMode::Hold) | (State::Released, ReleaseMode::Free) if holds => {
            return Update::Repeated;
        }
        _ => return Update::Lost(Some(Found::of(record, holder.owner, now))),
    };
    record.state = state;
    record.ending = Some(how.ending);
    record.failures = how.failures.of(record.failures);
    record.waiter = false;
    record.expires_at = now.plus(record.keep);
    Update::Applied
}

/// The record, unless it has expired: whether something has purged it yet changes nothing.
fn live(slot: &mut Option<Record>, now: Timestamp) -> Option<&mut Record> {
    if slot.as_ref().is_some_and(|record| record.is_expired(now)) {
        *slot = None;
    }
    slot.as_mut()
}

fn holds(record: &Record, holder: Holder) -> bool {
    record.owner == holder.owner && holder.fence.is_none_or(|fence| record.fence == fence)
}

/// Whether nothing has run in this record's life, so that a corrected request may use its key.
///
/// A clean release of a later attempt does not count: an earlier one has run with the recorded
/// arguments, and may have left steps.
fn never_began(record: &Record) -> bool {
    was_clean(record) && record.attempt == 1
}

fn was_clean(record: &Record) -> bool {
    record.state == State::Released && record.ending == Some(Ending::Clean)
}

fn has_result(record: &Record, completion: &Completion) -> bool {
    record.state == completion.state() && record.result == completion.payload
}

fn first(request: &ClaimRequest, now: Timestamp) -> Record {
    let mut record = Record::new(request.owner, Fence::next(None, now), request.fingerprint);
    record.at_most_once = request.at_most_once;
    record.keep = request.keep;
    record.expires_at = now.plus(request.keep).plus(request.lease);
    record
}

fn take_over(record: &mut Record, request: &ClaimRequest, now: Timestamp) {
    // After a clean release the number stays, and so does what is known of the attempt before it.
    if !was_clean(record) {
        record.attempt = record.attempt.saturating_add(1);
        record.previous = record.ending;
    }
    record.state = State::InProgress;
    record.owner = request.owner;
    record.fence = Fence::next(Some(record.fence), now);
    record.ending = None;
    record.at_most_once = request.at_most_once;
    record.fingerprint = request.fingerprint;
    record.keep = request.keep;
    record.expires_at = now.plus(request.keep).plus(request.lease);
}

fn can_heal(grant: &Grant, now: Timestamp) -> bool {
    now.since(grant.fence.granted_at()) <= grant.healing_window()
}

fn healed(grant: &Grant) -> Record {
    let mut record = Record::new(grant.owner, grant.fence, grant.fingerprint);
    record.attempt = grant.attempt;
    record.failures = grant.failures;
    record.previous = Some(Ending::Healed);
    record.at_most_once = grant.at_most_once;
    record.started_at = grant.started_at;
    record.keep = grant.keep;
    record.steps.clone_from(&grant.steps);
    record
}

fn finish(record: &mut Record, completion: &Completion, now: Timestamp) {
    record.state = completion.state();
    record.ending = None;
    record.waiter = false;
    record.steps = Vec::new();
    record.result = completion.payload.clone();
    record.completed_at = Some(now);
    record.expires_at = now.plus(completion.ttl);
}
