use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use idempotent_core::{Engine, Lent, Outcome, TransactionalStore};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::breaker::Breaker;
use crate::builder::Builder;
use crate::config::Config;
use crate::events::{Counts, Events};
use crate::handler::{Context, HandlerError};
use crate::message::Message;
use crate::mode::{Annotated, Leased, Transactional};
use crate::strikes::Strikes;
use crate::worker::Worker;

/// Handles each message once, for one purpose.
///
/// The purpose is the scope: two consumers with different scopes both handle a message, as two services
/// that subscribe to one event must; all consumers with one scope share the work.
///
/// # Clone
///
/// A clone is a handle to the same consumer, and costs one reference count.
#[derive(Clone, Debug)]
pub struct Consumer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) breaker: Breaker,
    pub(crate) config: Config,
    pub(crate) events: Events,
    pub(crate) strikes: Strikes,
    pub(crate) told_of_positions: AtomicBool,
}

impl Consumer {
    /// Begins to describe a consumer whose records `engine` keeps under `scope`: the name of the group and
    /// of what it does, as in `billing.charge-order`. Keep it when the code moves.
    pub fn builder(engine: Engine, scope: impl Into<String>) -> Builder {
        Builder(Config::new(engine, scope.into()))
    }

    pub(crate) fn new(config: Config) -> Self {
        let shared = Shared {
            breaker: Breaker::new(config.breaker),
            config,
            events: Events::default(),
            strikes: Strikes::default(),
            told_of_positions: AtomicBool::new(false),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Handles messages with `handler` under a lease, which is renewed for as long as it runs.
    ///
    /// It runs again if its process dies in the middle, so that its effect happens at least once: give
    /// [`Attempt::key_for`](idempotent_core::Attempt::key_for) to whoever deduplicates by it, or look
    /// before you act when it is not the first attempt.
    pub fn leased<H, F, T>(&self, handler: H) -> Worker<Leased<H>>
    where
        H: Fn(Message, Context) -> F + Send + Sync + 'static,
        F: Future<Output = Result<T, HandlerError>> + Send,
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        Worker::new(self.clone(), Leased(handler))
    }

    /// Handles messages with `handler` in a transaction of `store`, whose records the engine must keep,
    /// too: what it writes through the transaction and the record are one commit, and happen once.
    ///
    /// Its process may die anywhere, and then nothing of it has happened, the count of its failures
    /// included: if a message takes the process along, only the broker can count.
    pub fn transactional<S, H, F, T>(&self, store: S, handler: H) -> Worker<Transactional<S, H>>
    where
        S: TransactionalStore + 'static,
        H: Fn(Lent<S::Transaction>, Message, Context) -> F + Send + Sync + 'static,
        F: Future<Output = Result<T, HandlerError>> + Send,
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        Worker::new(self.clone(), Transactional { store, handler })
    }

    /// Handles messages with a function that claims them itself: one with the attribute `#[idempotent]`,
    /// whose key is the message's id, and whose error is a [`HandlerError`].
    ///
    /// The function's scope, fingerprint, lease and ttl are its own. The consumer counts its failures,
    /// in a record beside the function's.
    pub fn annotated<H, F, T>(&self, handler: H) -> Worker<Annotated<H>>
    where
        H: Fn(Message) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Outcome<T>, HandlerError>> + Send,
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        Worker::new(self.clone(), Annotated(handler))
    }

    /// What has become of its messages so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.events.counts()
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }
}

impl Shared {
    /// Says once what ids of the broker's are good for.
    pub(crate) fn tell_of_positions(&self) {
        if !self.told_of_positions.swap(true, Ordering::Relaxed) {
            tracing::debug!(
                target: "idempotency::consumer",
                scope = self.config.scope,
                "messages have ids of the broker's: one that its producer sends twice takes effect \
                 twice, unless the producer sends an id along"
            );
        }
    }
}
