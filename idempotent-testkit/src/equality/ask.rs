use std::time::Duration;

use bytes::Bytes;
use idempotent_core::protocol::{
    Claim, ClaimRequest, Completion, Operation, Reply, StepReply, Update,
};
use idempotent_core::{CodecId, Fingerprint, Key, Owner, Payload, Store, StoreError};

use super::plan::Call;

/// Asks the store what the specification is asked.
pub(super) async fn ask<S: Store>(
    store: &S,
    key: &Key,
    operation: &Operation,
) -> Result<Reply, StoreError> {
    Ok(match operation {
        Operation::Claim(request) => Reply::Claim(store.claim(key, request).await?),
        Operation::Complete { grant, completion } => {
            Reply::Update(store.complete(key, grant, completion).await?)
        }
        Operation::RecordStep { grant, step, lease } => {
            Reply::Step(store.record_step(key, grant, step, *lease).await?)
        }
        Operation::Release { holder, release } => {
            Reply::Update(store.release(key, holder, *release).await?)
        }
        Operation::Renew { grant, lease } => Reply::Update(store.renew(key, grant, *lease).await?),
        operation => unreachable!("no plan has {operation:?}"),
    })
}

/// A call of its own, which wants what `call` says.
pub(super) fn request(call: &Call) -> ClaimRequest {
    let fingerprint = Fingerprint::of(call.arguments).unwrap();
    let owner = Owner::random().unwrap();
    let mut request = ClaimRequest::new(owner, fingerprint, call.lease, call.ttl);
    request.keep = call.keep;
    request.at_most_once = call.at_most_once;
    request.wait = call.wait;
    request
}

pub(super) fn completion(result: &'static str, failed: bool, ttl: Duration) -> Completion {
    let bytes = Bytes::from_static(result.as_bytes());
    let payload = Payload {
        codec: CodecId::JSON,
        bytes,
    };
    if failed {
        Completion::error(payload, ttl)
    } else {
        Completion::value(payload, ttl)
    }
}

/// What the reply is called in a summary.
pub(super) fn name(reply: &Reply) -> &'static str {
    match reply {
        Reply::Claim(Claim::Busy { .. }) => "busy",
        Reply::Claim(Claim::Done(_)) => "done",
        Reply::Claim(Claim::Granted(_)) => "granted",
        Reply::Claim(Claim::InDoubt(_)) => "in doubt",
        Reply::Claim(Claim::Mismatch) => "mismatch",
        Reply::Claim(Claim::Stale) => "stale",
        Reply::Step(StepReply::Known(_)) => "step: known",
        Reply::Step(StepReply::Lost(_)) => "step: lost",
        Reply::Step(StepReply::Recorded) => "step: recorded",
        Reply::Update(Update::Applied) => "update: applied",
        Reply::Update(Update::Healed) => "update: healed",
        Reply::Update(Update::Lost(_)) => "update: lost",
        Reply::Update(Update::Repeated) => "update: repeated",
        reply => unreachable!("a reply of another version: {reply:?}"),
    }
}
