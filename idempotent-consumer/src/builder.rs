use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use idempotent_core::{BoxError, Fingerprint, Key, OnStoreFailure};

use crate::backoff::Backoff;
use crate::config::{Compare, Config, ConfigError, MissingId};
use crate::consumer::Consumer;
use crate::message::{Message, MessageId};
use crate::settle::Capabilities;

/// The choices for a [`Consumer`]. Each has a default that is named at its method.
#[must_use]
pub struct Builder(pub(crate) Config);

impl Builder {
    /// The broker that the messages are to come from, so that what does not fit is an error of
    /// [`build`](Self::build): otherwise it is one of [`Worker::run`](crate::Worker::run).
    pub const fn broker(mut self, broker: Capabilities) -> Self {
        self.0.broker = broker;
        self
    }

    /// How long a claim holds without being renewed: half of what the broker gives a delivery, or 30 s.
    /// It is renewed every third of that while the handler runs. Must be less than what the broker gives.
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.0.lease = Some(lease);
        self
    }

    /// How long it is remembered that a message has taken effect: 7 days. A message that comes later
    /// takes effect again, so this must be longer than the broker, or a producer, may send it again.
    pub const fn retention(mut self, retention: Duration) -> Self {
        self.0.retention = retention;
        self
    }

    /// How long the queue keeps a message, where the broker does not say: the
    /// [retention](Self::retention) has to be longer.
    pub const fn queue_ttl(mut self, ttl: Duration) -> Self {
        self.0.queue_ttl = Some(ttl);
        self
    }

    /// How often a handler may fail at a message before it is put aside: 10 times.
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.0.max_attempts = attempts;
        self
    }

    /// How long to wait before a message is tried again: up to 1 s at first, 5 minutes at last.
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.0.backoff = backoff;
        self
    }

    /// How long to wait for another consumer that is handling the same message: 2 s. After that the
    /// message goes back to the broker, or is held.
    pub const fn in_progress_wait(mut self, wait: Duration) -> Self {
        self.0.in_progress_wait = wait;
        self
    }

    /// How long a delivery is held, in all, because the broker would count its return as a failure: 30 s.
    pub const fn hold_max(mut self, hold: Duration) -> Self {
        self.0.hold_max = hold;
        self
    }

    /// How long a handler may take before it is dropped, which is a failure: for ever.
    pub const fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.0.handler_timeout = Some(timeout);
        self
    }

    /// What becomes of a message without an id: it is put aside.
    pub const fn missing_id(mut self, missing: MissingId) -> Self {
        self.0.missing_id = missing;
        self
    }

    /// What becomes of a message that comes while the store is down: it comes again.
    pub const fn on_store_failure(mut self, on_store_failure: OnStoreFailure) -> Self {
        self.0.on_store_failure = on_store_failure;
        self
    }

    /// What makes two deliveries the same message: the id that the adapter has found. It is asked once
    /// for each delivery, before anything else.
    pub fn id(
        mut self,
        id: impl Fn(&Message) -> Option<MessageId> + Send + Sync + 'static,
    ) -> Self {
        self.0.find_id = Some(Arc::new(id));
        self
    }

    /// What two messages with the same id are compared by: the whole body, if the id is the producer's.
    /// `Fingerprint::of` takes whatever can be serialized.
    pub fn fingerprint(
        mut self,
        digest: impl Fn(&Message) -> Result<Fingerprint, BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.0.compare = Compare::By(Arc::new(digest));
        self
    }

    /// Takes two messages with the same id for the same, whatever they say.
    pub fn without_fingerprint(mut self) -> Self {
        self.0.compare = Compare::Nothing;
        self
    }

    /// How many messages are handled at once: 16.
    pub const fn concurrency(mut self, handlers: usize) -> Self {
        self.0.concurrency = handlers;
        self
    }

    /// How long a shutdown waits for handlers: 30 s. After that they are dropped, and the broker delivers
    /// their messages to somebody else.
    pub const fn drain(mut self, drain: Duration) -> Self {
        self.0.drain = drain;
        self
    }

    /// After how many failures of the store in a row no messages are fetched any more, but for one at a
    /// time to see whether it is back: 5.
    pub const fn breaker(mut self, failures: u32) -> Self {
        self.0.breaker = failures;
        self
    }

    /// The consumer.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: some choices do not fit together, or do not fit the
    /// [broker](Self::broker).
    pub fn build(self) -> Result<Consumer, ConfigError> {
        // Whatever is wrong with this key is wrong with the scope.
        Key::new(&self.0.scope, "id")?;
        self.0.check(&self.0.broker)?;
        Ok(Consumer::new(self.0))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
