//! What the layer has to say to a client, in the place of the handler.

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use idempotent_core::{BoxError, Error};

use crate::key::InvalidKey;

/// Why the layer answers a request itself. [`Problems`](crate::Problems) makes a response of it, or a
/// [`Render`](crate::Render) of your own.
///
/// No variant's text holds a key, a caller, or a part of a body.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The handler panicked, or its response broke off, or the layer is at fault. The key is free again.
    #[error("the request could not be completed")]
    Failed(#[source] BoxError),

    /// An earlier request with this key fell silent, and nobody knows whether it took effect. It does
    /// not run again, until somebody resolves the record.
    #[error("nobody knows whether the original request took effect; it will not be tried again")]
    Indeterminate,

    /// A request with this key is being handled.
    #[error("a request with this key is being handled; retry in {} s", seconds(*retry_after))]
    InProgress {
        /// When a retry is worth while.
        retry_after: Duration,
    },

    /// The key cannot be used.
    #[error("{0}")]
    InvalidKey(InvalidKey),

    /// The key was used before with another request.
    #[error("the key was used before with another request; use a new key for a new request")]
    Mismatch,

    /// There is no key.
    #[error("this request needs a key: send it as {place}")]
    Missing {
        /// Where the key is looked for.
        place: String,
    },

    /// Nobody can say whose request it is.
    #[error("could not tell whose request this is")]
    Scope(#[source] BoxError),

    /// The store does not answer; the handler has not run.
    #[error("the request was not handled; it is safe to retry with the same key")]
    Store(#[source] Error),

    /// The body is larger than a request may be.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// What is allowed, in bytes.
        limit: usize,
    },

    /// The original request was answered, but its answer was not kept. It does not run again.
    #[error("the original request was answered, and its answer was not kept")]
    Unavailable {
        /// Where its resource is, if the answer said so.
        location: Option<HeaderValue>,
    },

    /// The body broke off before its end. Nothing has run.
    #[error("the body of the request broke off; nothing was done")]
    Upload(#[source] BoxError),

    /// The body took too long to come. Nothing has run.
    #[error("the body of the request took too long to come; nothing was done")]
    UploadTimeout,
}

impl HttpError {
    /// A name for programs. It is stable.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Failed(_) => "failed",
            Self::Indeterminate => "indeterminate",
            Self::InProgress { .. } => "in-progress",
            Self::InvalidKey(_) => "invalid-key",
            Self::Mismatch => "mismatch",
            Self::Missing { .. } => "missing-key",
            Self::Scope(_) => "scope",
            Self::Store(_) => "store",
            Self::TooLarge { .. } => "too-large",
            Self::Unavailable { .. } => "unavailable",
            Self::Upload(_) => "upload",
            Self::UploadTimeout => "upload-timeout",
        }
    }

    /// The status that it has by default.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::InvalidKey(_) | Self::Missing { .. } | Self::Upload(_) => StatusCode::BAD_REQUEST,
            Self::UploadTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Indeterminate | Self::InProgress { .. } | Self::Unavailable { .. } => {
                StatusCode::CONFLICT
            }
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Mismatch => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Failed(_) | Self::Scope(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What it is called. The first three are those of the draft.
    #[must_use]
    pub const fn title(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "Idempotency-Key is missing",
            Self::Mismatch => "Idempotency-Key is already used",
            Self::InProgress { .. } => "A request is outstanding for this Idempotency-Key",
            Self::Failed(_) => "The request could not be completed",
            Self::Indeterminate => "The outcome of the original request is unknown",
            Self::InvalidKey(_) => "Invalid Idempotency-Key",
            Self::Scope(_) => "Could not resolve idempotency scope",
            Self::Store(_) => "Service temporarily unavailable",
            Self::TooLarge { .. } => "Request body is too large",
            Self::Unavailable { .. } => "The original response is not available",
            Self::Upload(_) => "Request body is incomplete",
            Self::UploadTimeout => "Request body took too long",
        }
    }

    /// Whether the same request, with the same key, may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Failed(_)
            | Self::InProgress { .. }
            | Self::Store(_)
            | Self::Upload(_)
            | Self::UploadTimeout => true,
            Self::Indeterminate
            | Self::InvalidKey(_)
            | Self::Mismatch
            | Self::Missing { .. }
            | Self::Scope(_)
            | Self::TooLarge { .. }
            | Self::Unavailable { .. } => false,
        }
    }

    /// In how many whole seconds a retry is worth while, where that is known: at least 1.
    #[must_use]
    pub const fn retry_after(&self) -> Option<u64> {
        match self {
            Self::InProgress { retry_after } => Some(seconds(*retry_after)),
            Self::Store(_) => Some(1),
            _ => None,
        }
    }
}

const fn seconds(duration: Duration) -> u64 {
    let whole = duration.as_secs();
    let seconds = if duration.subsec_nanos() > 0 {
        whole + 1
    } else {
        whole
    };
    if seconds == 0 { 1 } else { seconds }
}

/// The rest of a lease is at least as long as the attempt that holds it will take, and mostly far longer.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

impl From<Error> for HttpError {
    fn from(error: Error) -> Self {
        match error {
            Error::FingerprintMismatch => Self::Mismatch,
            Error::InDoubt => Self::Indeterminate,
            Error::InProgress { retry_after } => Self::InProgress {
                retry_after: retry_after.min(LONGEST_WAIT),
            },
            // Another attempt has taken over: its response will be the one that counts.
            Error::LeaseLost { .. } => Self::InProgress {
                retry_after: LONGEST_WAIT,
            },
            Error::Corrupt(_) | Error::Incompatible(_) | Error::ResultUnavailable => {
                Self::Unavailable { location: None }
            }
            // The client's part of it has been checked.
            Error::Key(error) => Self::Scope(error.into()),
            error if error.is_retryable() || matches!(error, Error::Store { .. }) => {
                Self::Store(error)
            }
            error => Self::Failed(error.into()),
        }
    }
}
