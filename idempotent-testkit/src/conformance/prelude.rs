//! What the cases are written in: requests, results, and a store between two clients.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use idempotent_core::protocol::{
    Claim, ClaimRequest, Completion, Found, Grant, Holder, Release, ReleaseMode, StepReply, Update,
};
use idempotent_core::{
    CodecId, Deletion, Ending, Fence, Fingerprint, Inspect, Key, Owner, Payload, Record, Step,
    Store,
};

use crate::align::Align;
pub(super) use crate::harness::Harness;

/// A lease, or a ttl, that no case outlasts.
pub(super) const LONG: Duration = Duration::from_secs(60 * 60);

/// More than a busy machine takes between two calls; less than any two durations that a case has to
/// tell apart by their length alone.
const SLACK: Duration = Duration::from_secs(60);

/// A store of its own for one case, and two clients of it.
///
/// Each call goes through the other client than the one before, so that nothing passes which only
/// one client knows.
pub(super) struct World<H: Harness> {
    pub(super) harness: H,
    clients: [H::Store; 2],
    calls: AtomicUsize,
}

impl<H: Harness> World<H> {
    pub(super) async fn start() -> Self {
        let harness = H::start().await;
        let clients = [harness.store().await, harness.store().await];
        Self {
            harness,
            clients,
            calls: AtomicUsize::new(0),
        }
    }

    /// The client whose turn it is.
    pub(super) fn store(&self) -> &H::Store {
        &self.clients[self.calls.fetch_add(1, Ordering::Relaxed) % 2]
    }

    /// Lets a lease, or a ttl, of [`Harness::SHORT`] run out.
    pub(super) async fn pass(&self) {
        self.harness.pass(H::SHORT * 2).await;
    }

    pub(super) async fn claim(&self, key: &Key, request: &ClaimRequest) -> Claim {
        self.store().claim(key, request).await.unwrap()
    }

    /// A claim that has to be granted.
    pub(super) async fn grant(&self, key: &Key, request: &ClaimRequest) -> Grant {
        match self.claim(key, request).await {
            Claim::Granted(grant) => grant,
            claim => panic!("not granted: {claim:?}"),
        }
    }

    /// A grant whose lease has run out.
    pub(super) async fn lapsed(&self, key: &Key, request: &ClaimRequest) -> Grant {
        let grant = self.grant(key, request).await;
        self.pass().await;
        grant
    }

    pub(super) async fn complete(
        &self,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Update {
        self.store().complete(key, grant, completion).await.unwrap()
    }

    /// A completion that has to be applied.
    pub(super) async fn finish(&self, key: &Key, grant: &Grant, completion: &Completion) {
        assert_eq!(self.complete(key, grant, completion).await, Update::Applied);
    }

    pub(super) async fn renew(&self, key: &Key, grant: &Grant, lease: Duration) -> Update {
        self.store().renew(key, grant, lease).await.unwrap()
    }

    pub(super) async fn step(&self, key: &Key, grant: &Grant, step: &Step) -> StepReply {
        self.store()
            .record_step(key, grant, step, LONG)
            .await
            .unwrap()
    }

    pub(super) async fn release(
        &self,
        key: &Key,
        holder: Holder,
        ending: Ending,
        mode: ReleaseMode,
    ) -> Update {
        self.store()
            .release(key, &holder, Release::new(ending, mode))
            .await
            .unwrap()
    }

    /// A release, to be run again, that has to be applied.
    pub(super) async fn free(&self, key: &Key, grant: &Grant, ending: Ending) {
        let update = self
            .release(key, grant.holder(), ending, ReleaseMode::Free)
            .await;
        assert_eq!(update, Update::Applied);
    }

    pub(super) async fn get(&self, key: &Key) -> Option<Record> {
        self.store().get(key).await.unwrap()
    }

    pub(super) async fn record(&self, key: &Key) -> Record {
        self.get(key).await.expect("there is a record")
    }

    /// Makes the store forget a record whose lease has run out, as a failover may.
    pub(super) async fn lose(&self, key: &Key) {
        assert_eq!(self.store().delete(key).await.unwrap(), Deletion::Deleted);
        assert_eq!(self.get(key).await, None);
    }

    /// Asserts that the record is still as it was `before`.
    pub(super) async fn unchanged(&self, key: &Key, before: &Record) {
        let mut record = self.record(key).await;
        record.align(before, SLACK);
        assert_eq!(record, *before, "the record was changed");
    }
}

pub(super) fn key(value: &str) -> Key {
    Key::new("conformance", value).unwrap()
}

pub(super) fn owner() -> Owner {
    Owner::random().unwrap()
}

pub(super) fn fingerprint(arguments: &str) -> Fingerprint {
    Fingerprint::of(arguments).unwrap()
}

/// A call with the arguments that all calls share, and a lease that no case outlasts.
pub(super) fn request() -> ClaimRequest {
    ClaimRequest::new(owner(), fingerprint("3 apples"), LONG, LONG)
}

/// A call whose lease runs out when the world lets time pass.
pub(super) fn short<H: Harness>() -> ClaimRequest {
    ClaimRequest::new(owner(), fingerprint("3 apples"), H::SHORT, LONG)
}

pub(super) fn other_arguments() -> ClaimRequest {
    ClaimRequest::new(owner(), fingerprint("4 apples"), LONG, LONG)
}

pub(super) fn at_most_once(mut request: ClaimRequest) -> ClaimRequest {
    request.at_most_once = true;
    request
}

pub(super) fn waiting(mut request: ClaimRequest) -> ClaimRequest {
    request.wait = true;
    request
}

pub(super) fn kept(mut request: ClaimRequest, keep: Duration) -> ClaimRequest {
    request.keep = keep;
    request
}

pub(super) fn payload(bytes: impl Into<Bytes>) -> Payload {
    Payload {
        codec: CodecId::JSON,
        bytes: bytes.into(),
    }
}

pub(super) fn value(bytes: impl Into<Bytes>) -> Completion {
    Completion::value(payload(bytes), LONG)
}

pub(super) fn error(bytes: impl Into<Bytes>) -> Completion {
    Completion::error(payload(bytes), LONG)
}

pub(super) fn step(name: &str, value: impl Into<Bytes>) -> Step {
    Step {
        name: name.to_owned(),
        value: value.into(),
    }
}

/// The same grant in the hands of a stranger who has seen its fence.
pub(super) fn other_owner(grant: &Grant) -> Grant {
    let mut forged = grant.clone();
    forged.owner = owner();
    forged
}

/// An earlier, or later, grant to the same owner.
pub(super) fn other_fence(grant: &Grant) -> Grant {
    let mut forged = grant.clone();
    forged.fence = Fence::from_u64(grant.fence.as_u64() + 1);
    forged
}

/// Asserts that two durations are the same, but for the time that the case itself took.
#[track_caller]
pub(super) fn near(actual: Duration, expected: Duration) {
    assert!(
        actual.abs_diff(expected) <= SLACK,
        "{actual:?} is not {expected:?}"
    );
}

#[track_caller]
pub(super) fn lost(update: Update) -> Found {
    match update {
        Update::Lost(Some(found)) => found,
        update => panic!("not lost to another: {update:?}"),
    }
}
