use std::sync::Arc;

use idempotent_core::Engine;
use tower_layer::Layer;

use crate::builder::NeedsScope;
use crate::config::{Config, MissingKey};
use crate::service::Idempotency;

/// Makes the requests of a service safe to retry.
///
/// # Where it stands
///
/// From the outside: tracing, CORS, compression, authentication, rate limit, timeout, **this layer**, the
/// handler.
///
/// - Inside of compression: outside, one client's `Content-Encoding` would be replayed to another.
/// - Inside of authentication and rate limits: their 401 and 429 are no answers to the request.
/// - Inside of a timeout: the handler goes on when the timeout gives up, and a retry gets its response.
///
/// # Clone
///
/// A clone is a handle to the same layer.
#[derive(Clone, Debug)]
pub struct IdempotencyLayer {
    config: Arc<Config>,
}

impl IdempotencyLayer {
    /// Begins to describe a layer over `engine`.
    pub const fn builder(engine: Engine) -> NeedsScope {
        NeedsScope { engine }
    }

    pub(crate) fn new(config: Config) -> Self {
        Self {
            config: Arc::new(config),
        }
    }

    /// Waits until every handler that runs on without its client has been recorded.
    ///
    /// For the end of a program: `axum::serve(..).with_graceful_shutdown(..)` returns when the last
    /// connection is gone, while such handlers still run, and the end of the runtime would kill them.
    /// Bound the wait with a timeout.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only waits.
    pub async fn drained(&self) {
        self.config.engine.drained().await;
    }

    /// What a request without a key gets, for a part of the routes that this layer protects.
    ///
    /// # Examples
    ///
    /// ```
    /// # use idempotent_core::{Engine, MemoryStore};
    /// use idempotent_http::{IdempotencyLayer, MissingKey, Scope};
    ///
    /// # fn main() -> Result<(), idempotent_http::ConfigError> {
    /// let layer = IdempotencyLayer::builder(Engine::new(MemoryStore::new()))
    ///     .scope(|parts| parts.extensions.get::<Scope>().cloned())
    ///     .build()?;
    /// let for_payments = layer.clone().on_missing_key(MissingKey::Refuse);
    /// # _ = for_payments;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn on_missing_key(mut self, missing: MissingKey) -> Self {
        Arc::make_mut(&mut self.config).missing = missing;
        self
    }
}

impl<S> Layer<S> for IdempotencyLayer {
    type Service = Idempotency<S>;

    fn layer(&self, inner: S) -> Idempotency<S> {
        Idempotency::new(Arc::clone(&self.config), inner)
    }
}
