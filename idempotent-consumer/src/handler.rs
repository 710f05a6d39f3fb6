//! What a handler is given, and how it fails.

use std::fmt;
use std::time::Duration;

use idempotent_core::{Attempt, BoxError};

use crate::race::race;
use crate::stop::Stop;

/// What a handler may know of the delivery, beside the message.
///
/// # Clone
///
/// A clone is another handle to the same attempt.
#[derive(Clone, Debug)]
pub struct Context {
    attempt: Attempt,
    stop: Stop,
}

impl Context {
    pub(crate) const fn new(attempt: Attempt, stop: Stop) -> Self {
        Self { attempt, stop }
    }

    /// The attempt: its number, how the one before it ended, and keys for calls to other services.
    #[must_use]
    pub const fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// Whether there is no use in going on.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.stop.is_cancelled() || self.attempt.is_lease_lost()
    }

    /// Waits until there is no use in going on: the lease is lost, so that another consumer may be
    /// handling the message; or the consumer is being shut down, and will not wait much longer. Never
    /// returns otherwise.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: meant for `tokio::select!`.
    pub async fn cancelled(&self) {
        race(self.attempt.lease_lost(), self.stop.cancelled()).await;
    }
}

/// Why a handler has failed.
///
/// The `?` operator makes one of any error, which will be tried again.
/// [`permanent`](Self::permanent) says that there is no use in that.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use idempotent_consumer::{HandlerError, Message};
///
/// fn quantity(message: &Message) -> Result<u32, HandlerError> {
///     let text = std::str::from_utf8(&message.body).map_err(HandlerError::permanent)?;
///     text.parse().map_err(HandlerError::permanent)
/// }
///
/// fn stock() -> Result<u32, HandlerError> {
///     let text = std::fs::read_to_string("stock")?; // tried again
///     text.parse().map_err(|error| HandlerError::retryable(error).after(Duration::from_secs(60)))
/// }
///
/// assert!(quantity(&Message::new("three")).unwrap_err().is_permanent());
/// assert!(!stock().unwrap_err().is_permanent());
/// ```
#[derive(Debug)]
pub struct HandlerError {
    after: Option<Duration>,
    permanent: bool,
    source: BoxError,
}

impl HandlerError {
    /// The message is tried again, until it has failed too often.
    pub fn retryable(error: impl Into<BoxError>) -> Self {
        Self {
            after: None,
            permanent: false,
            source: error.into(),
        }
    }

    /// The message would fail for ever, and is put aside at once.
    pub fn permanent(error: impl Into<BoxError>) -> Self {
        Self {
            permanent: true,
            ..Self::retryable(error)
        }
    }

    /// How long to wait before the message is tried again, where you know better than the
    /// [`Backoff`](crate::Backoff).
    #[must_use]
    pub const fn after(mut self, after: Duration) -> Self {
        self.after = Some(after);
        self
    }

    /// Whether the message would fail for ever.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        self.permanent
    }

    pub(crate) const fn pause(&self) -> Option<Duration> {
        self.after
    }

    /// The error itself.
    #[must_use]
    pub fn into_source(self) -> BoxError {
        self.source
    }

    /// The error itself, if it is an `E`.
    pub(crate) fn downcast<E: std::error::Error + 'static>(self) -> Result<E, Self> {
        let (after, permanent) = (self.after, self.permanent);
        self.source
            .downcast()
            .map(|error| *error)
            .map_err(|source| Self {
                after,
                permanent,
                source,
            })
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::retryable(error)
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}
