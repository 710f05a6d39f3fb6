//! A broker for tests.

mod queue;
mod source;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use self::queue::Queue;
pub use self::source::{TestSettle, TestSource};
use crate::disposition::Reason;
use crate::message::{Message, MessageId};

/// A broker in memory that does to messages what real ones do, and on request what they do at their
/// worst: it delivers again, out of order and twice, loses acknowledgements, and lets consumers die.
///
/// It draws from a seed, and keeps tokio's time, so that a test with a paused clock goes the same way each
/// time.
///
/// # Clone
///
/// A clone is a handle to the same broker.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// use idempotent_consumer::{Consumer, Message, MessageId, TestBroker};
/// use idempotent_core::{Engine, MemoryStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = TestBroker::new().duplicating(50).losing_acks(20);
/// for number in 0..20 {
///     let id = MessageId::Producer(format!("order-{number}"));
///     broker.publish(Message::new("tea").with_id(id));
/// }
///
/// let orders = Arc::new(AtomicU32::new(0));
/// let count = Arc::clone(&orders);
/// let worker = Consumer::builder(Engine::new(MemoryStore::new()), "shop.order").build()?.leased(
///     move |_, _| {
///         let count = Arc::clone(&count);
///         async move { Ok(count.fetch_add(1, Ordering::SeqCst)) }
///     },
/// );
/// worker.run(broker.source(), broker.idle()).await?;
/// assert_eq!(orders.load(Ordering::SeqCst), 20);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TestBroker {
    queue: Arc<Mutex<Queue>>,
    /// Tells of every change.
    changes: watch::Sender<()>,
}

/// A message that was put aside, and why.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The message.
    pub message: Message,
    /// Why.
    pub reason: Reason,
}

/// What a [`TestBroker`] has done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct BrokerCounts {
    /// Acknowledgements that were heard.
    pub acked: u64,
    /// Deliveries.
    pub delivered: u64,
    /// Extensions of deliveries.
    pub extended: u64,
    /// Acknowledgements that were lost.
    pub lost_acks: u64,
    /// Messages that were published.
    pub published: u64,
    /// Retries that were counted as failures.
    pub retried: u64,
    /// Retries that were not.
    pub retried_uncounted: u64,
}

impl TestBroker {
    /// A broker that delivers each message once, in order, and again if it is told to.
    #[must_use]
    pub fn new() -> Self {
        Self {
            queue: Arc::new(Mutex::new(Queue::new())),
            changes: watch::Sender::new(()),
        }
    }

    /// Draws from this seed whatever is drawn.
    #[must_use]
    pub fn seeded(self, seed: u64) -> Self {
        self.set(|queue| queue.random.seed(seed))
    }

    /// Publishes so many of a hundred messages twice.
    #[must_use]
    pub fn duplicating(self, percent: u8) -> Self {
        self.set(|queue| queue.options.duplicates = percent)
    }

    /// Delivers in any order.
    #[must_use]
    pub fn reordering(self) -> Self {
        self.set(|queue| queue.options.reorders = true)
    }

    /// Does not hear so many of a hundred acknowledgements, and delivers those messages again.
    #[must_use]
    pub fn losing_acks(self, percent: u8) -> Self {
        self.set(|queue| queue.options.lost_acks = percent)
    }

    /// Delivers a message again that is not settled, or extended, in this time.
    #[must_use]
    pub fn with_visibility(self, visibility: Duration) -> Self {
        self.set(|queue| queue.options.capabilities.visibility = Some(visibility))
    }

    /// Delivers so many messages at once to a consumer: 32.
    #[must_use]
    pub fn with_prefetch(self, prefetch: usize) -> Self {
        self.set(|queue| queue.options.capabilities.prefetch = Some(prefetch))
    }

    /// Cannot wait before it delivers a message again.
    #[must_use]
    pub fn without_delays(self) -> Self {
        self.set(|queue| queue.options.capabilities.delays_retries = false)
    }

    /// Gives a message up that has come back more often than this, for whatever reason.
    #[must_use]
    pub fn with_delivery_limit(self, returns: u32) -> Self {
        self.set(|queue| {
            queue.options.delivery_limit = Some(returns);
            queue.options.capabilities.counts_every_retry = true;
        })
    }

    /// Counts failures, and says how many there were.
    #[must_use]
    pub fn counting_failures(self) -> Self {
        self.set(|queue| queue.options.capabilities.counts_failures_only = true)
    }

    fn set(self, change: impl FnOnce(&mut Queue)) -> Self {
        change(&mut self.lock());
        self
    }

    /// Takes in a message.
    pub fn publish(&self, message: Message) {
        self.lock().publish(message);
        self.tell();
    }

    /// Deliveries for one consumer. When it is dropped, what it has not settled is delivered to others.
    #[must_use]
    pub fn source(&self) -> TestSource {
        let number = self.lock().add_source();
        TestSource::new(self.clone(), number)
    }

    /// Cuts a consumer off that has something unsettled, which is delivered to others: its handlers run
    /// on, and nothing that they say is heard. Returns whether there was one.
    #[expect(clippy::must_use_candidate, reason = "it does something")]
    pub fn cut_one_off(&self) -> bool {
        let is_cut = self.lock().cut_one_off();
        self.tell();
        is_cut
    }

    /// What was put aside.
    #[must_use]
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.lock().dead.clone()
    }

    /// Publishes what was put aside once more, and says how many messages that were.
    #[expect(clippy::must_use_candidate, reason = "it does something")]
    pub fn redrive(&self) -> usize {
        let mut queue = self.lock();
        let dead = std::mem::take(&mut queue.dead);
        let count = dead.len();
        for letter in dead {
            queue.publish(letter.message);
        }
        drop(queue);
        self.tell();
        count
    }

    /// What the broker itself has given up.
    #[must_use]
    pub fn given_up(&self) -> Vec<Message> {
        self.lock().given_up.clone()
    }

    /// The ids of the messages that were acknowledged, in that order, once for each time.
    #[must_use]
    pub fn acked(&self) -> Vec<MessageId> {
        self.lock().acked.clone()
    }

    /// What it has done.
    #[must_use]
    pub fn counts(&self) -> BrokerCounts {
        self.lock().counts
    }

    /// Waits until every message is acknowledged, put aside, or given up.
    pub async fn idle(&self) {
        let mut changes = self.changes.subscribe();
        while !self.lock().is_empty() {
            // The sender is in `self`.
            _ = changes.changed().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.changes.send_replace(());
    }
}

impl Default for TestBroker {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TestBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestBroker")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
