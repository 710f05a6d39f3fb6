//! A server that breaks the protocol on purpose.

use idempotency::protocol::{self, Operation, ReleaseMode, Reply, Update};
use idempotency::{Record, State, Timestamp};

use crate::control::Control;

/// Does what [`protocol::apply`] does, but for what `control` breaks.
pub(super) fn apply(
    control: Control,
    slot: &mut Option<Record>,
    operation: &Operation,
    now: Timestamp,
) -> Reply {
    if control == Control::LeaseAsExpiry && matches!(operation, Operation::Claim(_)) {
        slot.take_if(|record| record.state == State::InProgress && !record.is_held(now));
    }
    let reply = protocol::apply(slot, operation, now);
    match (control, operation) {
        (Control::DeleteOnRelease, Operation::Release { release, .. })
            if release.mode == ReleaseMode::Free =>
        {
            *slot = None;
            reply
        }
        (Control::UnconditionalComplete, Operation::Complete { grant, completion })
            if matches!(reply, Reply::Update(Update::Lost(_))) =>
        {
            let mut grant = grant.clone();
            match slot {
                // Whoever holds it now has not finished, and will not know.
                Some(record) if !record.state.is_finished() => {
                    record.state = State::InProgress;
                    grant.owner = record.owner;
                    grant.fence = record.fence;
                }
                _ => {
                    // The grant is as good as new: the store does not look at it.
                    let mut record = Record::new(grant.owner, grant.fence, grant.fingerprint);
                    record.attempt = grant.attempt;
                    record.keep = grant.keep;
                    record.expires_at = now.plus(grant.keep);
                    *slot = Some(record);
                }
            }
            let completion = completion.clone();
            protocol::apply(slot, &Operation::Complete { grant, completion }, now)
        }
        _ => reply,
    }
}
