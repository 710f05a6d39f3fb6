//! RabbitMQ: a queue, whose consumers share its messages.
//!
//! The property `message_id` is the message's id; a message without one has none, for RabbitMQ gives none.
//! Headers are those whose values are text.
//!
//! Nothing is acknowledged before it has taken effect, and each delivery is settled by itself. RabbitMQ cannot
//! wait before it delivers a message again, so the delivery is held here meanwhile, and takes one of the
//! [places](RabbitQueue::prefetch). A quorum queue counts deliveries, and gives a message up at its
//! `delivery-limit`: up to RabbitMQ 4.2 it counts those that come back without a failure, too. Such
//! messages are therefore held for a while and looked at again, before they go back. From 4.3 on it counts
//! failures only; say so with [`counts_failures_only`](RabbitQueue::counts_failures_only).
//!
//! A message that is rejected is deleted, unless a policy or an argument of the queue names a dead-letter
//! exchange, and nobody can ask the server whether one does. So where dead letters go has to be said: either
//! they are [published](RabbitQueue::dead_letters_to), and confirmed, before the delivery is acknowledged; or you
//! say that [there is a dead-letter exchange](RabbitQueue::dead_letters_by_policy).
//!
//! # Examples
//!
//! ```no_run
//! // It needs a server.
//! use idempotent_consumer::brokers::rabbitmq::RabbitQueue;
//! use idempotent_consumer::{Consumer, Message, MessageId};
//! use idempotent_core::{Engine, MemoryStore};
//!
//! # async fn consume() -> Result<(), Box<dyn std::error::Error>> {
//! let orders = RabbitQueue::new("amqp://localhost", "orders").dead_letters_to("", "orders.dead");
//! let id = MessageId::Producer("order-17".into());
//! orders.publish(&Message::new("tea").with_id(id)).await?;
//!
//! let consumer = Consumer::builder(Engine::new(MemoryStore::new()), "billing.charge").build()?;
//! let worker = consumer.leased(|message, _| async move { Ok(message.body.len()) });
//! worker.run(orders.open().await?, std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```

mod entry;
mod error;
mod session;
mod settle;
mod source;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

pub use self::error::RabbitError;
use self::session::Session;
pub use self::settle::RabbitSettle;
pub use self::source::RabbitSource;
use crate::config::ConfigError;
use crate::message::Message;
use crate::settle::Capabilities;
use crate::source::SourceError;

/// The server's own limit for a delivery that is not settled, if nobody has changed it: 30 minutes. See
/// <https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout>.
const CONSUMER_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// A queue, which has to exist.
///
/// # Clone
///
/// A clone is a handle to the same connection.
#[derive(Clone)]
#[must_use = "nothing is consumed until it is opened"]
pub struct RabbitQueue {
    url: Arc<str>,
    queue: Arc<str>,
    dead_letters: Option<DeadLetters>,
    prefetch: u16,
    counts_failures_only: bool,
    consumer_timeout: Duration,
    /// What publishes; sources have a connection of their own.
    publisher: Arc<Mutex<Option<Arc<Session>>>>,
}

/// Where what is put aside goes.
#[derive(Clone, Debug)]
enum DeadLetters {
    Policy,
    Publish {
        exchange: Arc<str>,
        routing_key: Arc<str>,
    },
}

impl RabbitQueue {
    /// The messages of `queue`, at the server of an `amqp://` URL.
    pub fn new(url: &str, queue: &str) -> Self {
        Self {
            url: url.into(),
            queue: queue.into(),
            dead_letters: None,
            prefetch: 32,
            counts_failures_only: false,
            consumer_timeout: CONSUMER_TIMEOUT,
            publisher: Arc::default(),
        }
    }

    /// What is put aside is rejected, and the queue has a dead-letter exchange which keeps it. Without one,
    /// it is lost.
    pub fn dead_letters_by_policy(mut self) -> Self {
        self.dead_letters = Some(DeadLetters::Policy);
        self
    }

    /// What is put aside is published to this exchange, which has to route it to a queue. The exchange `""` routes
    /// to the queue that the routing key names.
    pub fn dead_letters_to(mut self, exchange: &str, routing_key: &str) -> Self {
        self.dead_letters = Some(DeadLetters::Publish {
            exchange: exchange.into(),
            routing_key: routing_key.into(),
        });
        self
    }

    /// How many messages a source has at once: 32, and never less than one.
    pub fn prefetch(mut self, messages: u16) -> Self {
        self.prefetch = messages.max(1);
        self
    }

    /// Whether the queue counts towards its `delivery-limit` only what is rejected, as from RabbitMQ 4.3 on:
    /// no. Messages that tell so themselves, by `x-acquired-count`, are taken at their word.
    pub const fn counts_failures_only(mut self, failures_only: bool) -> Self {
        self.counts_failures_only = failures_only;
        self
    }

    /// The server's `consumer_timeout`: 30 minutes. A delivery that is not settled by then closes the channel.
    pub const fn consumer_timeout(mut self, timeout: Duration) -> Self {
        self.consumer_timeout = timeout;
        self
    }

    /// Publishes a message to the queue, and waits until the server has stored it.
    ///
    /// # Errors
    ///
    /// [`RabbitError`]: the message may have been stored: publish it again, with the same id.
    pub async fn publish(&self, message: &Message) -> Result<(), RabbitError> {
        // A connection takes many frames, and many futures, to make.
        let session = Box::pin(self.publisher()).await?;
        let published =
            session.publish("", &self.queue, &message.body, entry::properties(message)?);
        let published = published.await;
        if let Err(RabbitError::Amqp(_) | RabbitError::Timeout) = published {
            *self.publisher.lock().await = None;
        }
        published
    }

    /// Begins to consume.
    ///
    /// # Errors
    ///
    /// [`SourceError`]: the server cannot be reached, or refuses, or nobody has said where
    /// [dead letters](ConfigError::DeadLetters) go.
    pub async fn open(&self) -> Result<RabbitSource, SourceError> {
        if self.dead_letters.is_none() {
            let broker = "RabbitMQ";
            return Err(SourceError::new(ConfigError::DeadLetters { broker }));
        }
        let opened = Box::pin(source::open(self.clone())).await;
        opened.map_err(SourceError::new)
    }

    async fn publisher(&self) -> Result<Arc<Session>, RabbitError> {
        let mut publisher = self.publisher.lock().await;
        if let Some(session) = &*publisher {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(Session::connect(&self.url, self.prefetch).await?);
        *publisher = Some(Arc::clone(&session));
        Ok(session)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            consumer_timeout: Some(self.consumer_timeout),
            counts_every_retry: !self.counts_failures_only,
            counts_failures_only: self.counts_failures_only,
            prefetch: Some(usize::from(self.prefetch)),
            ..Capabilities::default()
        }
    }
}

impl fmt::Debug for RabbitQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("RabbitQueue")
            .field("queue", &self.queue)
            .field("dead_letters", &self.dead_letters)
            .field("prefetch", &self.prefetch)
            .finish_non_exhaustive()
    }
}
