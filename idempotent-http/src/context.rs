use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use idempotent_core::Attempt;

/// What a handler may know of the protected request that it handles: an extension of the request, and
/// with the feature `axum` an extractor.
///
/// # Examples
///
/// An attempt that is not the first looks before it acts:
///
/// ```
/// use http::Request;
/// use idempotent_http::IdempotencyContext;
///
/// async fn create<B>(request: Request<B>) {
///     if let Some(context) = request.extensions().get::<IdempotencyContext>() {
///         if !context.attempt().is_first() {
///             // ... ask the payment provider what has become of it
///         }
///         let key = context.attempt().key_for("charge");
///         // ... charge with this key
/// #       _ = key;
///     }
/// }
/// ```
///
/// # Clone
///
/// A clone is another handle to the same attempt.
#[derive(Clone)]
pub struct IdempotencyContext {
    attempt: Attempt,
    begun: Arc<AtomicBool>,
    key: Arc<str>,
}

impl IdempotencyContext {
    pub(crate) fn new(attempt: Attempt, key: &str) -> Self {
        Self {
            attempt,
            begun: Arc::default(),
            key: key.into(),
        }
    }

    /// The attempt: its number, how the one before ended, whether its lease is lost, keys for calls to
    /// other services.
    #[must_use]
    pub const fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// The client's key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Says that the handler has begun to act, so that its response counts: with
    /// [`deferred_begin`](crate::Builder::deferred_begin), a response from before is not kept.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Release);
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }
}

/// Does not show the key.
impl fmt::Debug for IdempotencyContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyContext")
            .field("attempt", &self.attempt)
            .field("begun", &self.has_begun())
            .finish_non_exhaustive()
    }
}
