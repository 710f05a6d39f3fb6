use std::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::fingerprint::Fingerprint;
use crate::lease::{Fence, Owner};
use crate::record::{Ending, Payload, Record, State, Step};

/// How long records that are not finished are kept at least, so that an orphan's history is not
/// forgotten while somebody may still retry.
const KEEP_AT_LEAST: Duration = Duration::from_secs(60 * 60);

/// A wish to be the one who runs.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ClaimRequest {
    /// The call's secret. The same for every try of one call, so that a lost reply costs nothing.
    pub owner: Owner,
    /// Digest of the arguments.
    pub fingerprint: Fingerprint,
    /// For how long the claim holds without being renewed.
    pub lease: Duration,
    /// How long the record outlives its lease, or its release.
    pub keep: Duration,
    /// How long a finished record is kept, from its completion.
    pub ttl: Duration,
    /// Whether an owner who falls silent leaves the record in doubt.
    pub at_most_once: bool,
    /// Whether the caller will wait for the attempt in progress, and asks to be told of its end.
    pub wait: bool,
}

impl ClaimRequest {
    /// A request with `keep` as the protocol has it (the ttl, and an hour at least), that allows a
    /// rerun and does not wait.
    #[must_use]
    pub fn new(owner: Owner, fingerprint: Fingerprint, lease: Duration, ttl: Duration) -> Self {
        let keep = ttl.max(KEEP_AT_LEAST);
        Self {
            owner,
            fingerprint,
            lease,
            keep,
            ttl,
            at_most_once: false,
            wait: false,
        }
    }
}

/// What a claim found.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Claim {
    /// Another attempt is in progress.
    Busy {
        /// What is left of its lease. Never zero.
        remaining: Duration,
        /// Which attempt it is.
        attempt: u32,
    },
    /// The operation has finished: replay.
    Done(Recorded),
    /// The caller is the one who runs.
    Granted(Grant),
    /// Nobody knows whether the operation had its effect.
    InDoubt(Doubt),
    /// The key is in use with other arguments.
    Mismatch,
    /// The same owner has released this key already. The claim comes late, for a dead call.
    Stale,
}

/// The right to run, and all that the owner must show with every write.
///
/// What counts from now on is the grant's owner: a store that had to draw a fresh one may have
/// granted under another than the request's.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Grant {
    /// The call's secret.
    pub owner: Owner,
    /// The grant's number.
    pub fence: Fence,
    /// 1 if nothing has run before in this record's life.
    pub attempt: u32,
    /// How many attempts before [failed](Ending::is_failure).
    pub failures: u32,
    /// How the attempt before ended. `None` for the first.
    pub previous: Option<Ending>,
    /// Digest of the arguments.
    pub fingerprint: Fingerprint,
    /// When the first attempt was granted.
    pub started_at: Timestamp,
    /// See [`ClaimRequest::keep`].
    pub keep: Duration,
    /// See [`ClaimRequest::ttl`].
    pub ttl: Duration,
    /// See [`ClaimRequest::at_most_once`].
    pub at_most_once: bool,
    /// The parts that earlier attempts have finished.
    pub steps: Vec<Step>,
}

impl Grant {
    /// The grant of `record`, which has just been claimed by `request`.
    #[must_use]
    pub fn of(record: &Record, request: &ClaimRequest) -> Self {
        Self {
            ttl: request.ttl,
            ..Self::read(record)
        }
    }

    fn read(record: &Record) -> Self {
        Self {
            owner: record.owner,
            fence: record.fence,
            attempt: record.attempt,
            failures: record.failures,
            previous: record.previous,
            fingerprint: record.fingerprint,
            started_at: record.started_at,
            keep: record.keep,
            ttl: record.keep,
            at_most_once: record.at_most_once,
            steps: record.steps.clone(),
        }
    }

    /// What a write must show.
    #[must_use]
    pub const fn holder(&self) -> Holder {
        Holder {
            owner: self.owner,
            fence: Some(self.fence),
        }
    }

    /// For how long after the grant a record that the store has lost may be written anew: later,
    /// another life of the key may have come and gone. (One with a shorter ttl, as after a deploy that
    /// lowered it, still may: the healed record then is a new life of the key.)
    #[must_use]
    pub fn healing_window(&self) -> Duration {
        self.ttl.min(self.keep)
    }
}

/// Who writes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Holder {
    /// The call's secret.
    pub owner: Owner,
    /// The grant's number; `None` if the reply to the claim never came.
    pub fence: Option<Fence>,
}

/// A record that nobody may run until it is resolved.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Doubt {
    /// The grant that fell silent. Completing or releasing under it resolves the doubt.
    pub grant: Grant,
    /// How its attempt ended.
    pub ending: Ending,
}

impl Doubt {
    /// The doubt that `record` is in.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        Self {
            grant: Grant::read(record),
            ending: record.ending.unwrap_or(Ending::Expired),
        }
    }
}

/// What a finished operation left.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Recorded {
    /// Whether the payload is a recorded error.
    pub failed: bool,
    /// The encoded result.
    pub payload: Payload,
    /// Digest of the arguments.
    pub fingerprint: Fingerprint,
    /// Which attempt finished.
    pub attempt: u32,
    /// Under which grant.
    pub fence: Fence,
    /// When it was finished. A store that is not asked twice may estimate it, too early by one
    /// round trip at most.
    pub completed_at: Timestamp,
    /// When it will be gone; estimated like `completed_at`.
    pub expires_at: Timestamp,
    /// What was left until then when the store answered, by the store's clock.
    pub remaining: Duration,
}

impl Recorded {
    /// What `completion` under `grant` has left, where the store was not asked: estimated times.
    pub(crate) fn by(grant: &Grant, completion: &Completion) -> Self {
        let completed_at = grant.fence.granted_at();
        Self {
            failed: completion.failed,
            payload: completion.payload.clone(),
            fingerprint: grant.fingerprint,
            attempt: grant.attempt,
            fence: grant.fence,
            completed_at,
            expires_at: completed_at.plus(completion.ttl),
            remaining: completion.ttl,
        }
    }

    /// What `record` replays at `now`, if it is finished.
    #[must_use]
    pub fn of(record: &Record, now: Timestamp) -> Option<Self> {
        record.state.is_finished().then(|| Self {
            failed: record.state == State::Failed,
            payload: record.result.clone(),
            fingerprint: record.fingerprint,
            attempt: record.attempt,
            fence: record.fence,
            completed_at: record.completed_at.unwrap_or_default(),
            expires_at: record.expires_at,
            remaining: record.expires_at.since(now),
        })
    }
}

/// What an owner who lost its record finds in its place.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Found {
    /// Where the record stands.
    pub state: State,
    /// Whether it is still the same call's.
    pub same_owner: bool,
    /// The number of the grant in force.
    pub fence: Fence,
    /// Digest of the arguments.
    pub fingerprint: Fingerprint,
    /// What it replays, if it is finished.
    pub recorded: Option<Recorded>,
}

impl Found {
    /// What `record` is to `owner` at `now`.
    #[must_use]
    pub fn of(record: &Record, owner: Owner, now: Timestamp) -> Self {
        Self {
            state: record.state,
            same_owner: record.owner == owner,
            fence: record.fence,
            fingerprint: record.fingerprint,
            recorded: Recorded::of(record, now),
        }
    }
}

/// The answer to a renewal, a completion or a release.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Update {
    /// Done.
    Applied,
    /// The store had lost the record; it has been written anew, and the change with it.
    Healed,
    /// Nothing was changed: the record is not, or no longer, held under this owner and fence.
    Lost(Option<Found>),
    /// The same grant had done this before; nothing was changed.
    Repeated,
}

/// The answer to the recording of a step.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StepReply {
    /// A step of this name was recorded before, with this value; nothing but the lease was changed.
    Known(Bytes),
    /// Nothing was changed: the record is not, or no longer, held under this owner and fence.
    Lost(Option<Found>),
    /// Done.
    Recorded,
}

/// An operation's result, to be recorded.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Completion {
    /// Whether the payload is an error.
    pub failed: bool,
    /// The encoded result.
    pub payload: Payload,
    /// How long the record is kept from now on.
    pub ttl: Duration,
}

impl Completion {
    /// Records a value.
    #[must_use]
    pub const fn value(payload: Payload, ttl: Duration) -> Self {
        Self {
            failed: false,
            payload,
            ttl,
        }
    }

    /// Records an error.
    #[must_use]
    pub const fn error(payload: Payload, ttl: Duration) -> Self {
        Self {
            failed: true,
            payload,
            ttl,
        }
    }

    /// The state that it leads to.
    #[must_use]
    pub const fn state(&self) -> State {
        if self.failed {
            State::Failed
        } else {
            State::Completed
        }
    }
}

/// What becomes of a record whose attempt ended without a result.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ReleaseMode {
    /// It is left as a tombstone: the next caller runs at once.
    Free,
    /// It is in doubt.
    Hold,
    /// Only the reason is noted; the lease runs out by itself.
    Note,
}

/// The end of an attempt without a result.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Release {
    /// How the attempt ended. [`Ending::Clean`] only where the operation surely never began.
    pub ending: Ending,
    /// What becomes of the record.
    pub mode: ReleaseMode,
    /// What becomes of the count of failures. A [note](ReleaseMode::Note) leaves it alone: the takeover
    /// that follows it counts.
    pub failures: Failures,
}

impl Release {
    /// The end of an attempt for `ending`'s reason, which counts if it [is a failure](Ending::is_failure).
    #[must_use]
    pub const fn new(ending: Ending, mode: ReleaseMode) -> Self {
        let failures = if ending.is_failure() {
            Failures::Count
        } else {
            Failures::Keep
        };
        Self {
            ending,
            mode,
            failures,
        }
    }
}

/// What becomes of the count of failures when an attempt ends.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Failures {
    /// There is one more.
    Count,
    /// It stays as it is.
    Keep,
    /// It begins anew at 0.
    Reset,
}

impl Failures {
    /// All of them, in alphabetical order.
    pub const ALL: [Self; 3] = [Self::Count, Self::Keep, Self::Reset];

    /// What it makes of a count of `failures`.
    #[must_use]
    pub const fn of(self, failures: u32) -> u32 {
        match self {
            Self::Count => failures.saturating_add(1),
            Self::Keep => failures,
            Self::Reset => 0,
        }
    }
}

/// Everything that a store can be asked.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// [`Store::claim`](crate::Store::claim).
    Claim(ClaimRequest),
    /// [`Store::complete`](crate::Store::complete).
    Complete {
        /// The right to run.
        grant: Grant,
        /// The result.
        completion: Completion,
    },
    /// [`Store::record_step`](crate::Store::record_step).
    RecordStep {
        /// The right to run.
        grant: Grant,
        /// The step.
        step: Step,
        /// For how long the claim holds from now on.
        lease: Duration,
    },
    /// [`Store::release`](crate::Store::release).
    Release {
        /// Who releases.
        holder: Holder,
        /// How, and why.
        release: Release,
    },
    /// [`Store::renew`](crate::Store::renew).
    Renew {
        /// The right to run.
        grant: Grant,
        /// For how long the claim holds from now on.
        lease: Duration,
    },
}

/// What a store answers.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Reply {
    /// To a claim.
    Claim(Claim),
    /// To a step.
    Step(StepReply),
    /// To anything else.
    Update(Update),
}
