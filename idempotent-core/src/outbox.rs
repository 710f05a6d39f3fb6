//! Messages that are sent because a transaction has committed, and not otherwise.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::engine::{EventKind, Events, Jitter, Observer};
use crate::error::StoreError;
use crate::store::TransactionalStore;
use crate::sync::time::sleep;
use crate::task::{TaskHandle, doubling};

const BATCH: usize = 100;
const INTERVAL: Duration = Duration::from_secs(1);
const LEASE: Duration = Duration::from_secs(30);
/// The pause after a message could not be sent: at first, and at last.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5 * 60));

/// Something to be sent, once the transaction that it is staged in has committed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Message {
    /// What its receiver tells it by from a message that was sent again. Unique among those that wait.
    pub id: String,
    /// Where it goes: a queue, a subject, the name of a job.
    pub topic: String,
    /// What it says.
    pub payload: Bytes,
}

impl Message {
    /// A message with this `id`: [`Attempt::key_for`](crate::Attempt::key_for) gives one that is the same on
    /// every attempt.
    pub fn new(id: impl Into<String>, topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self {
            id: id.into(),
            topic: topic.into(),
            payload: payload.into(),
        }
    }
}

/// A message that was taken out to be sent.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Taken {
    /// The number under which the outbox keeps it.
    pub number: i64,
    /// 1 the first time that it is taken out.
    pub attempt: u32,
    /// The message.
    pub message: Message,
}

impl Taken {
    /// `message`, as it was taken out of the outbox.
    #[must_use]
    pub const fn new(number: i64, attempt: u32, message: Message) -> Self {
        Self {
            number,
            attempt,
            message,
        }
    }
}

/// A store that keeps messages beside the application's rows until they are sent.
///
/// A message is staged in a transaction, in which the application writes, too: in that of a
/// [step](crate::Attempt::tx_step), say. If it commits, the message waits for a [`Relay`]; if not, there
/// is no message.
pub trait Outbox: TransactionalStore {
    /// Stages `message` in an open transaction.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; also if a message of this id waits already. The transaction is then good for
    /// nothing but to be rolled back.
    fn stage(
        &self,
        transaction: &mut Self::Transaction,
        message: &Message,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Takes up to `limit` messages out, the oldest first, for so long: then another may take them.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn take(
        &self,
        limit: usize,
        lease: Duration,
    ) -> impl Future<Output = Result<Vec<Taken>, StoreError>> + Send;

    /// Removes messages that were sent: these, and no others.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn remove(&self, numbers: &[i64]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Puts a message back that could not be sent, to be taken again after this `pause`.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn put_back(
        &self,
        number: i64,
        pause: Duration,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Sends what waits in an [`Outbox`].
///
/// # What is guaranteed
///
/// - A message whose transaction has committed is sent, at least once, in whatever order transactions
///   commit, and however many wait.
/// - A message whose transaction was rolled back is never sent.
/// - A message that cannot be sent does not hold up the others. It is tried again, after a pause that
///   doubles from 1 s to 5 min.
/// - Any number of relays may run at once. Each message is sent by one of them.
///
/// # What is not
///
/// - That a message is sent once: a relay may die after it has sent it. Receivers tell by its
///   [id](Message::id).
/// - An order. A message that had to be put back comes later than its successors.
///
/// # Examples
///
/// ```
/// use idempotent_core::{Outbox, Relay, StoreError};
///
/// # async fn send(topic: &str, id: &str, payload: &[u8]) -> Result<(), std::io::Error> { Ok(()) }
/// # async fn relay(store: impl Outbox + 'static) -> Result<(), StoreError> {
/// let relay = Relay::new(store, async |taken| {
///     send(&taken.message.topic, &taken.message.id, &taken.message.payload).await
/// });
/// let relayed = relay.drain().await?;
/// println!("{} sent", relayed.sent);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a relay does nothing until it is spawned, run or drained"]
pub struct Relay<S, P> {
    store: S,
    publish: P,
    batch: usize,
    interval: Duration,
    lease: Duration,
    events: Events,
}

/// What a relay has done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Relayed {
    /// How many messages were sent.
    pub sent: usize,
    /// How many could not be sent, and were put back.
    pub failed: usize,
}

impl<S, P, F, E> Relay<S, P>
where
    S: Outbox,
    P: Fn(Taken) -> F + Send + Sync,
    F: Future<Output = Result<(), E>> + Send,
    E: fmt::Display + Send,
{
    /// A relay of what waits in `store`, which sends with `publish`, with every default.
    pub const fn new(store: S, publish: P) -> Self {
        Self {
            store,
            publish,
            batch: BATCH,
            interval: INTERVAL,
            lease: LEASE,
            events: Events::none(),
        }
    }

    /// How many messages are taken out at once: 100, and never less than one.
    pub const fn batch(mut self, messages: usize) -> Self {
        self.batch = messages;
        self
    }

    /// How often to look when nothing waits: every second.
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// For how long a batch is taken out: 30 s. If a relay dies, another sends its batch after that; a
    /// batch that takes longer may be sent by two.
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Who hears of messages that could not be sent.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.events.observer = Some(Arc::new(observer));
        self
    }

    /// Sends until nothing waits that could be sent now.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]. What was sent until then may be sent again.
    ///
    /// # Cancel safety
    ///
    /// If this is dropped, what it has taken out is sent later, and what it has sent may be sent again.
    pub async fn drain(&self) -> Result<Relayed, StoreError> {
        let mut relayed = Relayed::default();
        loop {
            let batch = self.store.take(self.batch.max(1), self.lease).await?;
            if batch.is_empty() {
                return Ok(relayed);
            }
            let mut sent = Vec::with_capacity(batch.len());
            for taken in batch {
                let (number, attempt) = (taken.number, taken.attempt);
                match (self.publish)(taken).await {
                    Ok(()) => sent.push(number),
                    Err(error) => {
                        relayed.failed += 1;
                        let detail = format!("attempt {attempt}: {error}");
                        self.events.emit(EventKind::RelayFailed, "", None, &detail);
                        let pause = doubling(PAUSE.0, PAUSE.1, attempt);
                        self.store.put_back(number, pause).await?;
                    }
                }
            }
            self.store.remove(&sent).await?;
            relayed.sent += sent.len();
        }
    }

    /// Sends until it is dropped.
    ///
    /// # Cancel safety
    ///
    /// It has no other end. See [`drain`](Self::drain).
    pub async fn run(self) -> Infallible {
        let jitter = Jitter::random();
        loop {
            if let Err(error) = self.drain().await {
                self.events.emit(EventKind::StoreError, "", None, &error);
            }
            sleep(jitter.apply(self.interval)).await;
        }
    }

    /// Sends in a task of its own, until the handle is dropped or [stopped](TaskHandle::stop).
    ///
    /// # Panics
    ///
    /// If it is called outside of a tokio runtime.
    pub fn spawn(self) -> TaskHandle
    where
        S: 'static,
        P: 'static,
        F: 'static,
        E: 'static,
    {
        TaskHandle::spawn(self.run())
    }
}

impl<S: fmt::Debug, P> fmt::Debug for Relay<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
