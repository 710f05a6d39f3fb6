//! How an attempt has ended without a value.

use idempotent_core::Error;
use idempotent_core::protocol::Failures;

use crate::handler::HandlerError;

/// How an attempt has ended without a value.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The consumer was told to stop, and so the handler was.
    Cancelled,
    Engine(Error),
    Failed(Failure),
    LeaseLost,
}

/// A handler's failure, and what follows from it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) attempt: u32,
    /// How often it has failed, this time included.
    pub(crate) failures: u32,
    /// None if it did not run, because it had failed too often before.
    pub(crate) error: Option<HandlerError>,
    pub(crate) verdict: Verdict,
}

impl Failure {
    /// A failure that no record has counted yet.
    pub(crate) const fn uncounted(error: HandlerError) -> Self {
        let verdict = if error.is_permanent() {
            Verdict::Permanent
        } else {
            Verdict::Retryable
        };
        Self {
            attempt: 1,
            failures: 1,
            error: Some(error),
            verdict,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    Exhausted,
    Permanent,
    Retryable,
}

impl Ended {
    /// What this does to the record's count of failures. A message that is put aside begins anew, in case
    /// somebody sends it back.
    pub(crate) const fn failures(&self) -> Failures {
        match self {
            Self::Failed(failure) => match failure.verdict {
                Verdict::Exhausted | Verdict::Permanent => Failures::Reset,
                Verdict::Retryable => Failures::Count,
            },
            Self::Cancelled | Self::Engine(_) | Self::LeaseLost => Failures::Keep,
        }
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}
