use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::detach::ToTheEnd;
use super::error_policy::{AllCodecs, ErrorPolicy};
use super::flight::{AtStore, Find};
use super::near_cache::Nearby;
use super::policy::Policy;
use super::running::Held;
use super::{Engine, EventKind, Mode, OnAbandoned, OnConflict, OnStoreFailure, Shared, Verdict};
use crate::codec::CodecId;
use crate::error::{BoxError, Error, StoreError, Unencodable};
use crate::fingerprint::Fingerprint;
use crate::key::Key;
use crate::lease::Owner;
use crate::outcome::{Provenance, Recordable, Reply};
use crate::protocol::{
    Claim, ClaimRequest, Completion, Doubt, Holder, Recorded, Release, ReleaseMode,
};
use crate::record::{Ending, Payload};
use crate::store::Watch;
use crate::sync::time::{Instant, sleep, timeout_at};

/// The pauses between the tries of a store call that fails for a moment.
pub(crate) const PAUSES: [Duration; 3] = [
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(250),
];
/// How often a waiting caller looks for itself, lest a message was lost: at first, and at last.
pub(crate) const POLL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// One call, with everything decided that can be decided without the store.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) engine: Engine,
    pub(crate) scope: Cow<'static, str>,
    pub(crate) key: Key,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) policy: Policy,
    /// The arguments, where they are kept for a completer.
    pub(crate) input: Option<Payload>,
}

/// What a claim has come to.
#[derive(Debug)]
pub(crate) enum Claimed {
    Done(Recorded),
    Granted(Held),
    InDoubt(Box<Doubt>),
}

/// What one question to the store has come to.
enum Asked {
    Busy(Duration),
    Claimed(Claimed),
}

impl Call {
    pub(crate) fn shared(&self) -> &Shared {
        &self.engine.shared
    }

    pub(crate) fn emit(&self, kind: EventKind, detail: &dyn fmt::Display) {
        self.shared()
            .events
            .emit(kind, &self.scope, Some(&self.key), detail);
    }

    /// Becomes the one who runs, or finds what there is instead, waiting for it if need be.
    pub(crate) async fn claim(self: &Arc<Self>) -> Result<Claimed, Error> {
        match self.nearby() {
            Some(Nearby::Done(recorded)) => return Ok(Claimed::Done(recorded)),
            Some(Nearby::Mismatch) => return Err(self.mismatch()),
            None => {}
        }
        match self.policy.on_conflict {
            OnConflict::Wait(limit) if self.shared().mode == Mode::Enabled => {
                self.claim_in_turn(limit).await
            }
            OnConflict::Fail | OnConflict::Wait(_) => {
                match self.ask(false, Instant::now()).await? {
                    Asked::Claimed(claimed) => Ok(claimed),
                    Asked::Busy(remaining) => Err(self.conflict(remaining)),
                }
            }
        }
    }

    /// What this process remembers of the key.
    pub(crate) fn nearby(&self) -> Option<Nearby> {
        let near = self.shared().near_cache.as_ref()?;
        near.get(&self.key, self.fingerprint)
    }

    /// Remembers what the store has said to a question that was sent at `sent`.
    pub(crate) fn remember(&self, recorded: &Recorded, sent: Instant) {
        if let Some(near) = &self.shared().near_cache {
            near.put(&self.key, recorded.clone(), sent, recorded.remaining);
        }
    }

    /// Claims when it is this caller's turn among those of this process that want the same.
    async fn claim_in_turn(self: &Arc<Self>, limit: Duration) -> Result<Claimed, Error> {
        let mut now = Instant::now();
        let deadline = now + limit;
        let passenger = self.shared().flights.board(&self.key, self.fingerprint);
        let turn = match passenger.turn_now() {
            Some(turn) => turn,
            None => match Box::pin(timeout_at(deadline, passenger.turn())).await {
                Ok(turn) => {
                    now = Instant::now();
                    turn
                }
                Err(_) => return Err(self.conflict(passenger.remaining().unwrap_or(POLL.1))),
            },
        };
        match passenger.found() {
            Some(Find::Recorded(recorded)) => {
                // Without an attempt in progress, it was only another call's look at the store.
                if passenger.remaining().is_some() {
                    self.emit(EventKind::Waited, &"");
                }
                return Ok(Claimed::Done(recorded));
            }
            Some(Find::StoreFailed) => {
                let source = "a call of this process that asked at the same time got no answer";
                return Err(self.store_error(StoreError::Unavailable(source.into())));
            }
            None => {}
        }
        let claimed = match self.ask(false, now).await {
            Ok(Asked::Busy(remaining)) => {
                turn.share_busy(remaining);
                Box::pin(self.wait(&turn, deadline)).await
            }
            Ok(Asked::Claimed(claimed)) => Ok(claimed),
            Err(error) => Err(error),
        };
        match &claimed {
            Ok(Claimed::Done(recorded)) => turn.share(Find::Recorded(recorded.clone())),
            Err(Error::Store { .. }) => turn.share(Find::StoreFailed),
            Ok(Claimed::Granted(_) | Claimed::InDoubt(_)) | Err(_) => {}
        }
        claimed
    }

    /// Claims again and again, whenever there is news of the attempt in progress. There is no other
    /// way for a waiter to learn anything, so there is no second path to a takeover.
    async fn wait(
        self: &Arc<Self>,
        turn: &AtStore<'_>,
        deadline: Instant,
    ) -> Result<Claimed, Error> {
        self.emit(EventKind::Waited, &"");
        let store = Arc::clone(&self.shared().store);
        // Subscribed before the first claim, so that nothing falls in between.
        let mut watch = store.watch(&self.key).await.unwrap_or_else(|error| {
            self.emit(EventKind::StoreError, &error);
            Watch::never()
        });
        let mut poll = POLL.0;
        loop {
            let remaining = match self.ask(true, Instant::now()).await {
                Ok(Asked::Claimed(claimed)) => return Ok(claimed),
                Ok(Asked::Busy(remaining)) => remaining,
                Err(Error::Store { source, .. })
                    if source.is_transient() && Instant::now() < deadline =>
                {
                    poll
                }
                Err(error) => return Err(error),
            };
            turn.share_busy(remaining);
            let now = Instant::now();
            if now >= deadline {
                return Err(self.conflict(remaining));
            }
            let pause = self.until_next_look(poll, remaining.min(deadline - now));
            _ = timeout_at(now + pause, watch.changed()).await;
            poll = (poll * 2).min(POLL.1);
        }
    }

    /// How long a waiter pauses, where nothing happens before `at_most` but by a message.
    pub(crate) fn until_next_look(&self, poll: Duration, at_most: Duration) -> Duration {
        let pause = self.shared().jitter.apply(poll).min(at_most);
        // A timer ticks in whole milliseconds; a store may count the rest of a lease finer.
        pause.max(Duration::from_millis(1))
    }

    /// Asks the store, under a fresh owner.
    async fn ask(self: &Arc<Self>, wait: bool, mut now: Instant) -> Result<Asked, Error> {
        loop {
            let owner = Owner::random().map_err(Error::Randomness)?;
            let asked = ToTheEnd::new(
                self,
                Arc::clone(self).ask_as(self.request(owner, wait), now),
            );
            match asked.await? {
                Some(Asked::Claimed(Claimed::Granted(held))) => {
                    if let Some(held) = held.in_time().await? {
                        return Ok(Asked::Claimed(Claimed::Granted(held)));
                    }
                }
                Some(asked) => return Ok(asked),
                None => {}
            }
            now = Instant::now();
        }
    }

    /// Asks the store, or returns `None` if this owner's claim has been overtaken before it ran.
    async fn ask_as(
        self: Arc<Self>,
        request: ClaimRequest,
        now: Instant,
    ) -> Result<Option<Asked>, Error> {
        let (claim, sent) = self.claim_patiently(&request, now).await?;
        Ok(Some(match claim {
            Claim::Busy { remaining, .. } => Asked::Busy(remaining),
            Claim::Done(recorded) => {
                self.remember(&recorded, sent);
                Asked::Claimed(Claimed::Done(recorded))
            }
            Claim::Granted(grant) => Asked::Claimed(Claimed::Granted(Held::new(self, grant, sent))),
            Claim::InDoubt(doubt) if doubt.grant.owner == request.owner => {
                // The grant came, and ran out, while its reply was lost: nothing has run.
                Box::pin(self.release_unrun(doubt.grant.holder())).await;
                return Ok(None);
            }
            Claim::InDoubt(doubt) => {
                self.emit(doubt_of(&doubt), &"");
                Asked::Claimed(Claimed::InDoubt(Box::new(doubt)))
            }
            Claim::Mismatch => return Err(self.mismatch()),
            Claim::Stale => return Ok(None),
        }))
    }

    /// Claims, and tries again when the store fails for a moment: as the same owner, so that a claim
    /// whose reply was lost is found again. Returns also when the last try was sent.
    async fn claim_patiently(
        self: &Arc<Self>,
        request: &ClaimRequest,
        mut sent: Instant,
    ) -> Result<(Claim, Instant), Error> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let error = match self.shared().store.claim(&self.key, request).await {
                Ok(claim) => return Ok((claim, sent)),
                Err(error) => error,
            };
            self.emit(EventKind::StoreError, &error);
            if !matches!(error, StoreError::Unavailable(_)) {
                return Err(self.store_error(error));
            }
            let Some(pause) = pauses.next() else {
                self.withdraw(request.owner);
                return Err(self.store_error(error));
            };
            sleep(pause).await;
            sent = Instant::now();
        }
    }

    /// Gives up a claim that was never answered, and may have been granted.
    fn withdraw(self: &Arc<Self>, owner: Owner) {
        if self.policy.on_store_failure == OnStoreFailure::RunUnprotected {
            // The operation is about to run, so that it would be wrong to say that it never began.
            return;
        }
        let call = Arc::clone(self);
        self.shared()
            .background
            .spawn(async move { call.release_unrun(Holder { owner, fence: None }).await });
    }

    /// Says that `holder` never began, for as long as it takes the store to hear it, within reason.
    pub(crate) async fn release_unrun(&self, holder: Holder) {
        let release = Release::new(Ending::Clean, ReleaseMode::Free);
        self.tell(&holder, release).await;
    }

    /// Tells the store how an attempt ended. If it does not listen, the end of the lease says as much.
    pub(crate) async fn tell(&self, holder: &Holder, release: Release) {
        for pause in PAUSES {
            match self
                .shared()
                .store
                .release(&self.key, holder, release)
                .await
            {
                Err(error) if error.is_transient() => sleep(pause).await,
                Err(error) => return self.emit(EventKind::StoreError, &error),
                Ok(_) => return,
            }
        }
    }

    /// Settles `doubt` by what the outside world says.
    pub(crate) async fn resolve(
        &self,
        doubt: Box<Doubt>,
        verdict: Verdict<Payload>,
    ) -> Result<(), Error> {
        let store = &self.shared().store;
        let resolved = match verdict {
            Verdict::Done(payload) => {
                let completion = Completion::value(payload, self.policy.ttl);
                store.complete(&self.key, &doubt.grant, &completion).await
            }
            Verdict::NotExecuted => {
                let release = Release::new(doubt.ending, ReleaseMode::Free);
                store
                    .release(&self.key, &doubt.grant.holder(), release)
                    .await
            }
            Verdict::Unknown => return Err(Error::InDoubt),
        };
        // Whoever was quicker has settled it as well: the next claim tells.
        resolved.map(drop).map_err(|error| self.store_error(error))
    }

    pub(crate) fn request(&self, owner: Owner, wait: bool) -> ClaimRequest {
        let Policy {
            keep,
            lease,
            ttl,
            on_abandoned,
            ..
        } = self.policy;
        let mut request = ClaimRequest::new(owner, self.fingerprint, lease, ttl);
        request.keep = request.keep.max(keep);
        request.at_most_once = on_abandoned == OnAbandoned::InDoubt;
        request.wait = wait;
        request
    }

    /// Encodes a result. One that cannot be kept leaves no more than the fact that there was one.
    pub(crate) fn encode<T: Serialize>(&self, value: &T) -> Payload {
        self.encode_whole(value).unwrap_or_else(|reason| {
            self.emit(EventKind::Unrecorded, &reason);
            Payload::default()
        })
    }

    /// Encodes a result that is to be kept as a whole.
    pub(crate) fn encode_whole<T: Serialize>(&self, value: &T) -> Result<Payload, Unencodable> {
        let payload = self.encode_any(value).map_err(Unencodable)?;
        let (size, limit) = (payload.bytes.len(), self.policy.max_result);
        if size > limit {
            let reason = format!("the result has {size} bytes, and `max_result` allows {limit}");
            return Err(Unencodable(reason.into()));
        }
        Ok(payload)
    }

    /// Encodes what an operation, or a part of it, has given, whatever its size.
    pub(crate) fn encode_any<T: Serialize>(&self, value: &T) -> Result<Payload, BoxError> {
        let codecs = &self.shared().codecs;
        // The effect has happened, so that not even a panic may make the call run again.
        let encoded = catch_unwind(AssertUnwindSafe(|| codecs.encode(value)));
        let (codec, bytes) =
            encoded.unwrap_or_else(|_| Err("the value's `Serialize` panicked".into()))?;
        Ok(Payload { codec, bytes })
    }

    /// Decodes what an operation, or a part of it, has recorded.
    pub(crate) fn decode<T: DeserializeOwned>(&self, payload: &Payload) -> Result<T, Error> {
        self.engine.decode(payload)
    }

    /// What `recorded` is for the caller.
    pub(crate) fn replay<R, P>(&self, recorded: &Recorded, _: &P) -> R
    where
        R: Reply,
        P: ErrorPolicy<R::Error>,
    {
        self.emit(EventKind::Replayed, &"");
        if recorded.payload.codec == CodecId::NONE {
            return R::from_result(Err(Error::ResultUnavailable.into()));
        }
        if recorded.failed {
            let error = P::decode(&AllCodecs(&self.shared().codecs), &recorded.payload);
            return R::from_result(Err(error.unwrap_or_else(Into::into)));
        }
        let provenance = Provenance::Replayed {
            since: recorded.completed_at,
            until: recorded.expires_at,
        };
        R::from_result(
            self.decode(&recorded.payload)
                .map(|value| R::Value::replayed(value, provenance))
                .map_err(Into::into),
        )
    }

    /// Whether the body runs although `error` kept it from being protected.
    pub(crate) fn runs_unprotected_after(&self, error: &Error) -> bool {
        self.shared().mode == Mode::Shadow
            || self.policy.on_store_failure == OnStoreFailure::RunUnprotected
                && matches!(error, Error::Store { .. })
    }

    pub(crate) fn store_error(&self, error: StoreError) -> Error {
        match error {
            StoreError::Corrupt(source) => Error::Corrupt(source),
            StoreError::Incompatible { .. } => Error::Incompatible(error.into()),
            StoreError::Backend(_)
            | StoreError::Full(_)
            | StoreError::Misconfigured(_)
            | StoreError::Unavailable(_) => Error::Store {
                store: self.shared().store.name(),
                source: error,
            },
        }
    }

    pub(crate) fn conflict(&self, retry_after: Duration) -> Error {
        self.emit(EventKind::Conflict, &"");
        Error::InProgress { retry_after }
    }

    pub(crate) fn mismatch(&self) -> Error {
        self.emit(EventKind::Mismatch, &"");
        Error::FingerprintMismatch
    }
}

/// Whether a record that nobody may run is in doubt, or parked.
pub(crate) fn doubt_of(doubt: &Doubt) -> EventKind {
    match doubt.ending {
        Ending::Stuck => EventKind::Parked,
        _ => EventKind::InDoubt,
    }
}
