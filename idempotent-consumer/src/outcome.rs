//! What has become of a message.

use std::time::Duration;

use idempotent_core::{BoxError, Error};

use crate::disposition::Disposition;

/// What has become of a message, and what the broker is to be told.
#[derive(Debug)]
#[non_exhaustive]
pub struct Processed<T> {
    /// What has become of it.
    pub outcome: Outcome<T>,
    /// What the broker is to be told.
    pub disposition: Disposition,
}

/// What has become of a message.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome<T> {
    /// The consumer was told to stop in the middle. The claim was given up.
    Cancelled,
    /// The record cannot be read.
    Corrupt(Error),
    /// It has taken effect before, with this result if that could be kept.
    Duplicate(Option<T>),
    /// It has taken effect.
    Executed(T),
    /// Its handler has failed too often, or has taken its process along too often.
    Exhausted {
        /// The number of the last attempt.
        attempt: u32,
        /// The last error, if this attempt has run.
        error: Option<BoxError>,
    },
    /// Its handler has failed.
    Failed {
        /// The number of the attempt.
        attempt: u32,
        /// Why.
        error: BoxError,
        /// Whether it would fail for ever.
        permanent: bool,
    },
    /// Another consumer is handling it.
    InProgress {
        /// What is left of its lease.
        retry_after: Duration,
    },
    /// Another consumer has taken over while it was being handled, and has not finished.
    LeaseLost,
    /// Another message came before with the same id.
    Mismatch,
    /// It has no id, or one that cannot be a key.
    MissingId,
    /// The engine refuses to run it, and will for as long as nobody sees to it.
    Refused(Error),
    /// The store cannot be reached, or was lost before it took the result.
    StoreUnavailable {
        /// Why.
        source: BoxError,
        /// Whether the handler has run. Its effect may happen again.
        executed: bool,
    },
    /// It has taken effect, and its result could not be kept.
    Unencodable,
}
