//! Which responses are kept.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};

/// What becomes of a response.
///
/// A handler has the last word on its own: put one into the response's extensions.
///
/// # Examples
///
/// ```
/// use http::Response;
/// use idempotent_http::Recording;
///
/// // The bank is down for a moment: a retry with the same key may try again.
/// let response = Response::builder().status(200).extension(Recording::Release).body(());
/// # _ = response;
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Recording {
    /// It is not kept, and the key is free again: a retry runs, even with another body.
    Release,
    /// It is kept, and replayed.
    Store,
    /// It is not kept, but that the request was answered is: a retry gets 409 and never runs. For
    /// responses that are too large, that stream, or that must not be stored.
    Tombstone,
}

/// Which responses are kept, by their heads.
#[derive(Clone)]
pub struct StatusPolicy(Arc<Decide>);

type Decide = dyn Fn(StatusCode, &HeaderMap) -> Recording + Send + Sync;

impl StatusPolicy {
    /// Keeps what answers the request: 2xx, 3xx and 4xx, but for 401, 407, 408, 421, 423, 425 and 429,
    /// which say that it was not handled, and 5xx, after which a retry runs again.
    #[must_use]
    pub fn answers() -> Self {
        Self::of(|status, _| match status.as_u16() {
            401 | 407 | 408 | 421 | 423 | 425 | 429 | 500.. => Recording::Release,
            _ => Recording::Store,
        })
    }

    /// Keeps every response, 500 included, as Stripe's first API does.
    #[must_use]
    pub fn all() -> Self {
        Self::of(|_, _| Recording::Store)
    }

    /// Keeps 2xx alone.
    #[must_use]
    pub fn successes() -> Self {
        Self::of(|status, _| {
            if status.is_success() {
                Recording::Store
            } else {
                Recording::Release
            }
        })
    }

    /// Decides by status and headers.
    #[must_use]
    pub fn of(
        decide: impl Fn(StatusCode, &HeaderMap) -> Recording + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(decide))
    }

    pub(crate) fn decide(&self, status: StatusCode, headers: &HeaderMap) -> Recording {
        (self.0)(status, headers)
    }
}

impl Default for StatusPolicy {
    fn default() -> Self {
        Self::answers()
    }
}

impl fmt::Debug for StatusPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StatusPolicy(..)")
    }
}
