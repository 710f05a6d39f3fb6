use std::time::Duration;

use super::steps::Determinism;

/// What a call does while another attempt is in progress.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum OnConflict {
    /// Fails at once with [`Error::InProgress`](crate::Error::InProgress).
    Fail,
    /// Waits for its end, for so long at most, and then answers as it does.
    Wait(Duration),
}

/// What becomes of the record when the operation returns an error.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum OnError {
    /// In doubt, until somebody resolves it: for errors after which nobody knows what happened.
    Hold,
    /// The error is recorded, and replayed to every retry.
    Record,
    /// A retry runs again at once.
    #[default]
    Release,
}

/// What becomes of the record when an attempt falls silent: its lease runs out, and nobody knows
/// whether the effect happened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum OnAbandoned {
    /// In doubt, until somebody resolves it: the effect happens at most once.
    InDoubt,
    /// The next caller runs again, and can read that it is not the first attempt.
    #[default]
    Rerun,
}

/// What becomes of an operation whose caller goes away in the middle of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum OnCancel {
    /// The key stays claimed until its lease runs out, since the effect may have happened.
    #[default]
    Hold,
    /// A retry runs again at once: for operations that may be cut off anywhere.
    Release,
}

/// What becomes of the record when the operation panics. The panic goes on in either case.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum OnPanic {
    /// The key stays claimed until its lease runs out, since the effect may have happened.
    #[default]
    Hold,
    /// A retry runs again at once.
    Release,
}

/// What a call does when the store fails before the operation has run.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum OnStoreFailure {
    /// Fails with [`Error::Store`](crate::Error::Store); the operation does not run.
    #[default]
    Fail,
    /// Runs the operation without any protection, and says so in an event and in the
    /// [`Outcome`](crate::Outcome).
    RunUnprotected,
}

/// What a call returns when the operation has succeeded, but the store has not taken its result.
///
/// An [`Outcome`](crate::Outcome) is returned in either case, and says so itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum OnUnrecorded {
    /// [`Error::Unrecorded`](crate::Error::Unrecorded), which carries the encoded value.
    #[default]
    Error,
    /// The value, as if it had been recorded.
    Return,
}

/// What the outside world says about an attempt that fell silent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there is no fourth answer")]
pub enum Verdict<T> {
    /// Its effect happened, with this result.
    Done(T),
    /// Its effect did not happen, and will not: the operation may run.
    NotExecuted,
    /// Nobody can say. The record stays in doubt.
    Unknown,
}

/// Everything that can be chosen for an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) determinism: Determinism,
    pub(crate) keep: Duration,
    pub(crate) lease: Duration,
    pub(crate) max_result: usize,
    pub(crate) on_abandoned: OnAbandoned,
    pub(crate) on_cancel: OnCancel,
    pub(crate) on_conflict: OnConflict,
    pub(crate) on_panic: OnPanic,
    pub(crate) on_store_failure: OnStoreFailure,
    pub(crate) on_unrecorded: OnUnrecorded,
    pub(crate) ttl: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            determinism: Determinism::default(),
            keep: Duration::ZERO,
            lease: Duration::from_secs(30),
            max_result: 1024 * 1024,
            on_abandoned: OnAbandoned::default(),
            on_cancel: OnCancel::default(),
            on_conflict: OnConflict::Wait(Duration::from_secs(30)),
            on_panic: OnPanic::default(),
            on_store_failure: OnStoreFailure::default(),
            on_unrecorded: OnUnrecorded::default(),
            ttl: Duration::from_secs(24 * 60 * 60),
        }
    }
}
