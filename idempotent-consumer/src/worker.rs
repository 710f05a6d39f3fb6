use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::call::{Call, identify};
use crate::consumer::Consumer;
use crate::events::{EventKind, Subject};
use crate::message::Message;
use crate::mode::Mode;
use crate::outcome::{Outcome, Processed};
use crate::settle::{Delivery, Settle};
use crate::stop::Stop;

type Told = Pin<Box<dyn Future<Output = ()> + Send>>;
type OnDuplicate<T> = dyn Fn(Message, Option<T>) -> Told + Send + Sync;

/// A [`Consumer`] with its handler.
///
/// - [`run`](Self::run) takes messages from a source for as long as there are any.
/// - [`handle`](Self::handle) takes one, and settles it: for a loop of your own.
/// - [`process`](Self::process) takes one, and says what the broker is to be told: for whoever settles
///   deliveries in another way, and for tests.
///
/// # Clone
///
/// A clone is a handle to the same consumer and handler.
pub struct Worker<M: Mode> {
    pub(crate) consumer: Consumer,
    mode: Arc<M>,
    on_duplicate: Option<Arc<OnDuplicate<M::Value>>>,
}

impl<M: Mode> Worker<M> {
    pub(crate) fn new(consumer: Consumer, mode: M) -> Self {
        Self {
            consumer,
            mode: Arc::new(mode),
            on_duplicate: None,
        }
    }

    /// What to do about a message that has taken effect before, with the result if it could be kept, and
    /// before it is acknowledged: send the same reply again, say, which may have been lost.
    #[must_use]
    pub fn on_duplicate<F>(
        mut self,
        hook: impl Fn(Message, Option<M::Value>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.on_duplicate = Some(Arc::new(move |message, value| {
            Box::pin(hook(message, value))
        }));
        self
    }

    /// Handles one message, unless it has taken effect before, and says what the broker is to be told.
    ///
    /// Tells the broker nothing, and calls no [hook](Self::on_duplicate).
    /// [`Disposition::Ack`](crate::Disposition::Ack) means that the message has taken effect, and that
    /// this is recorded.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe, but safe: if this is dropped while the handler runs, the claim is given up, and
    /// the next delivery runs again.
    pub async fn process<S: Settle>(&self, delivery: &Delivery<S>) -> Processed<M::Value> {
        self.process_until(delivery, &Stop::never()).await
    }

    pub(crate) async fn process_until<S: Settle>(
        &self,
        delivery: &Delivery<S>,
        stop: &Stop,
    ) -> Processed<M::Value> {
        match Call::admit(&self.consumer, delivery, stop) {
            Ok(call) => {
                let processed = call.decide(self.mode.reply(&call).await);
                let outcome = &processed.outcome;
                call.emit(EventKind::of(outcome), &Detail(outcome));
                processed
            }
            Err(refused) => {
                let processed = refused.decide(self.consumer.config().missing_id);
                self.emit(delivery, EventKind::of(&processed.outcome), &"");
                processed
            }
        }
    }

    /// Passes a duplicate to the hook, if there is one.
    pub(crate) async fn tell_duplicate(
        &self,
        message: &Message,
        outcome: Outcome<M::Value>,
    ) -> Outcome<M::Value> {
        match (outcome, &self.on_duplicate) {
            (Outcome::Duplicate(value), Some(hook)) => {
                hook(message.clone(), value).await;
                Outcome::Duplicate(None)
            }
            (outcome, _) => outcome,
        }
    }

    pub(crate) fn emit<S: Settle>(
        &self,
        delivery: &Delivery<S>,
        kind: EventKind,
        detail: &dyn fmt::Display,
    ) {
        let hint = delivery.settle.attempts_hint();
        self.emit_of(&delivery.message, hint, kind, detail);
    }

    pub(crate) fn emit_of(
        &self,
        message: &Message,
        hint: Option<u32>,
        kind: EventKind,
        detail: &dyn fmt::Display,
    ) {
        let config = self.consumer.config();
        let (_, key) = identify(config, message);
        let key = key.as_ref();
        let subject = Subject { config, key, hint };
        self.consumer.shared().events.emit(kind, &subject, detail);
    }
}

/// What there is to say of an outcome.
struct Detail<'a, T>(&'a Outcome<T>);

impl<T> fmt::Display for Detail<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Outcome::Corrupt(error) | Outcome::Refused(error) => error.fmt(f),
            Outcome::StoreUnavailable { source, .. } => source.fmt(f),
            Outcome::Exhausted { attempt, .. } => write!(f, "attempt {attempt}"),
            Outcome::Failed { attempt, error, .. } => write!(f, "attempt {attempt}: {error}"),
            Outcome::InProgress { retry_after } => write!(f, "for {retry_after:?}"),
            _ => Ok(()),
        }
    }
}

impl<M: Mode> Clone for Worker<M> {
    fn clone(&self) -> Self {
        Self {
            consumer: self.consumer.clone(),
            mode: Arc::clone(&self.mode),
            on_duplicate: self.on_duplicate.clone(),
        }
    }
}

impl<M: Mode> fmt::Debug for Worker<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("consumer", &self.consumer)
            .finish_non_exhaustive()
    }
}
