//! What can go wrong: [`Error`] for callers, [`StoreError`] for stores.

use std::fmt;
use std::time::Duration;

use crate::codec::CodecId;
use crate::engine::StepError;
use crate::fingerprint::FingerprintError;
use crate::key::KeyError;
use crate::record::Payload;

/// Any error, with its sources.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a caller of an idempotent operation can meet, beside the operation's own errors.
///
/// # Examples
///
/// An operation's error type takes it in:
///
/// ```
/// #[derive(Debug, thiserror::Error)]
/// enum ChargeError {
///     #[error("the card was declined")]
///     Declined,
///     #[error(transparent)]
///     Idempotency(#[from] idempotent_core::Error),
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store was lost in the middle of a commit, and did not come back in time to say what it did.
    /// A retry with the same key finds out: it gets the result, or runs.
    #[error(
        "nobody knows whether the {store} store has committed; retry with the same key to find out"
    )]
    CommitUnknown {
        /// Which store.
        store: &'static str,
        /// Why.
        #[source]
        source: StoreError,
    },

    /// What is stored under the key is not a record, or a damaged one. It is left as it is, and the
    /// operation does not run. Have somebody look at it.
    #[error("what is stored under the key is not a readable record; inspect it before deleting it")]
    Corrupt(#[source] BoxError),

    /// Two operations of this process use one scope, so that one could replay the other's results.
    #[error(
        "the scope `{scope}` is used at {first} and at {second}; give one of them `scope = \"..\"`"
    )]
    DuplicateScope {
        /// The scope.
        scope: String,
        /// Where it was used first.
        first: String,
        /// Where it was used again.
        second: String,
    },

    /// The arguments could not be digested.
    #[error("the arguments have no fingerprint; leave the failing one out with `skip(..)`")]
    Fingerprint(#[from] FingerprintError),

    /// The key was used before with other arguments. The record is unchanged.
    #[error("the key was used before with other arguments; use a new key for a new request")]
    FingerprintMismatch,

    /// The recorded result is of another type, of an unknown codec, or of a newer format. The
    /// operation does not run again.
    #[error("the recorded result cannot be read by this version of the program")]
    Incompatible(#[source] BoxError),

    /// An attempt fell silent, and nobody knows whether its effect happened. Nothing runs until
    /// somebody resolves the record.
    #[error("nobody knows whether an earlier attempt took effect; resolve the record to go on")]
    InDoubt,

    /// Another attempt is in progress.
    #[error("another attempt is in progress; retry in {retry_after:?}")]
    InProgress {
        /// What is left of its lease, or the time until the next look at it.
        retry_after: Duration,
    },

    /// A duration is out of range.
    #[error("the {what} of {value:?} is out of range; use 1 ms to 30 years")]
    InvalidDuration {
        /// `ttl` or `lease`.
        what: &'static str,
        /// The refused value.
        value: Duration,
    },

    /// The key cannot be used.
    #[error("the key cannot be used")]
    Key(#[from] KeyError),

    /// This attempt lost its lease while it ran, so another one may have run too, and no result of
    /// another is there to return. The value is this attempt's own, and was not recorded.
    #[error("the lease was lost while the operation ran; its value was not recorded")]
    LeaseLost {
        /// The attempt's own result.
        value: UnrecordedValue,
    },

    /// No engine was named, and the application has installed none.
    #[error("no engine: name one with `engine = ..`, or call `Engine::install` at start-up")]
    NoEngine,

    /// The operating system has no randomness to give.
    #[error("no randomness for an owner token")]
    Randomness(#[source] BoxError),

    /// The operation finished, but its result could not be kept. It will not run again.
    #[error("the operation has finished, but its result was not kept")]
    ResultUnavailable,

    /// The operation could not go on, and nothing runs until somebody has looked at it: the program does not
    /// fit the steps that are recorded, or it has failed too often. Resolve the record as not executed to let
    /// it go on.
    #[error("the operation is parked; look at its record, and resolve it to let it go on")]
    Parked,

    /// The transaction was rolled back, and nothing that the operation did in it counts: the store
    /// failed, the result could not be recorded, or a statement had failed whose error the operation
    /// did not return. In a transaction of the caller's own, it is the caller who must roll back.
    #[error("the {store} store rolled the operation's transaction back; nothing of it counts")]
    RolledBack {
        /// Which store.
        store: &'static str,
        /// Why.
        #[source]
        source: StoreError,
    },

    /// A step did not run, or does not count.
    #[error("the operation cannot go on")]
    Step(#[from] StepError),

    /// The store failed before the operation ran.
    #[error("the {store} store failed before the operation ran; it is safe to retry")]
    Store {
        /// Which store.
        store: &'static str,
        /// Why.
        #[source]
        source: StoreError,
    },

    /// The operation succeeded, but the store did not take its result in time. It is still being
    /// recorded in the background; until then a retry may have to wait, or run again.
    #[error("the operation succeeded, but the {store} store has not recorded its result")]
    Unrecorded {
        /// Which store.
        store: &'static str,
        /// The result.
        value: UnrecordedValue,
        /// Why.
        #[source]
        source: StoreError,
    },
}

impl Error {
    /// Whether the same call, with the same key, may succeed later without anybody's help.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::CommitUnknown { .. }
            | Self::InProgress { .. }
            | Self::LeaseLost { .. }
            | Self::Randomness(_)
            | Self::Unrecorded { .. } => true,
            Self::RolledBack { source, .. } | Self::Store { source, .. } => source.is_transient(),
            Self::Step(error) => error.is_retryable(),
            Self::Corrupt(_)
            | Self::DuplicateScope { .. }
            | Self::Fingerprint(_)
            | Self::FingerprintMismatch
            | Self::Incompatible(_)
            | Self::InDoubt
            | Self::InvalidDuration { .. }
            | Self::Key(_)
            | Self::NoEngine
            | Self::Parked
            | Self::ResultUnavailable => false,
        }
    }

    /// How long to wait before a retry, where that is known.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::InProgress { retry_after } => Some(*retry_after),
            _ => None,
        }
    }
}

/// Why a transaction was rolled back whose operation had succeeded: its result would not be recorded
/// next time either. Only the consumer of messages has to tell this from other errors of a backend.
#[derive(Debug, thiserror::Error)]
#[doc(hidden)]
#[error("the result cannot be recorded: {0}")]
pub struct Unencodable(pub(crate) BoxError);

/// A result that exists, but was not recorded.
///
/// `Debug` does not print it.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct UnrecordedValue(pub(crate) Payload);

impl UnrecordedValue {
    /// The encoded result; empty if it could not be encoded.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// What it is encoded with; [`CodecId::NONE`] if it could not be encoded.
    #[must_use]
    pub const fn codec(&self) -> CodecId {
        self.0.codec
    }
}

impl fmt::Debug for UnrecordedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnrecordedValue({} bytes)", self.0.bytes.len())
    }
}

/// What a store can say beside its answers.
///
/// A store maps its driver's errors by their codes, never by their texts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The backend refused, and would refuse again.
    #[error("the backend refused the operation")]
    Backend(#[source] BoxError),

    /// What is stored under the key is not a record, or a damaged one. It was not changed.
    #[error("what is stored under the key is not a record")]
    Corrupt(#[source] BoxError),

    /// There is no room to start work. Work in progress can still be kept and finished.
    #[error("the store is full; purge expired records or give it more room")]
    Full(#[source] BoxError),

    /// The record was written by a newer version of this library. It was not changed.
    #[error("the record has the format `{format}`; upgrade this program to read it")]
    Incompatible {
        /// The format that was found.
        format: String,
    },

    /// The backend's settings would break the store's promises.
    #[error("the backend's settings would break the store's promises")]
    Misconfigured(#[source] BoxError),

    /// The backend cannot be reached, or is not able to answer now. A write may have been applied.
    #[error("the backend is unavailable")]
    Unavailable(#[source] BoxError),
}

impl StoreError {
    /// Whether the same operation may succeed if it is simply repeated.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Full(_) | Self::Unavailable(_) => true,
            Self::Backend(_)
            | Self::Corrupt(_)
            | Self::Incompatible { .. }
            | Self::Misconfigured(_) => false,
        }
    }
}
