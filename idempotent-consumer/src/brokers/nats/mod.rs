//! NATS `JetStream`: a stream, and a durable pull consumer who may have many processes.
//!
//! A message that was delivered and not acknowledged comes again after the consumer's
//! [`ack_wait`](JetStream::visibility), to whoever asks. A message that is to come again does so after its pause,
//! which the server keeps; one that is put aside is published to the subject of
//! [dead letters](JetStream::dead_letters), and terminated when a stream has it.
//!
//! A message's id is its header `Nats-Msg-Id`, as its producer has chosen it. Without, its position in the
//! stream tells its redeliveries, and nothing else. A stream that is deleted and made anew counts from the
//! beginning: use another scope for it.
//!
//! # Limits
//!
//! - The server itself drops a message whose `Nats-Msg-Id` the stream has had within its `duplicate_window`, two
//!   minutes if nothing was chosen. A dead letter that is sent back under its id sooner is dropped too:
//!   [`PublishAck::duplicate`] says so.
//! - The server delivers nothing new while `max_ack_pending` messages of the consumer are unsettled, 1000 if nothing was
//!   chosen. Those that wait for their next attempt count.
//! - What a stream has acknowledged can be lost in a crash of the machine, unless it has replicas: the server
//!   syncs its files every two minutes.
//! - A stream deletes messages by its limits, whether they have taken effect or not. One that keeps messages
//!   for those who are interested keeps no dead letters while nobody is.
//!
//! # Examples
//!
//! ```no_run
//! // It needs a server, with a stream `orders` and another for the subject `orders.dead`.
//! use idempotent_consumer::brokers::nats::JetStream;
//! use idempotent_consumer::{Consumer, Message, MessageId};
//! use idempotent_core::{Engine, MemoryStore};
//!
//! # async fn consume() -> Result<(), Box<dyn std::error::Error>> {
//! let client = async_nats::connect("localhost").await?;
//! let orders = JetStream::new(client, "orders", "billing");
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
mod open;
mod settle;
mod source;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::context::Context;
use async_nats::jetstream::publish::PublishAck;

pub use self::entry::SUBJECT_HEADER;
pub use self::error::NatsError;
pub use self::settle::NatsSettle;
pub use self::source::NatsSource;
use crate::message::Message;
use crate::source::SourceError;

/// A stream, and a durable consumer of it.
///
/// # Clone
///
/// A clone is a handle to the same connection.
#[derive(Clone)]
#[must_use = "nothing is consumed until it is opened"]
pub struct JetStream {
    context: Context,
    stream: Arc<str>,
    consumer: Arc<str>,
    subject: Option<Arc<str>>,
    dead_letters: Arc<str>,
    prefetch: usize,
    visibility: Duration,
    double_ack: bool,
}

impl JetStream {
    /// The messages of `stream` that are for the durable `consumer`. What is put aside goes to the subject
    /// `{stream}.dead`.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub fn new(client: Client, stream: &str, consumer: &str) -> Self {
        Self {
            context: async_nats::jetstream::new(client),
            stream: stream.into(),
            consumer: consumer.into(),
            subject: None,
            dead_letters: format!("{stream}.dead").into(),
            prefetch: 32,
            visibility: Duration::from_secs(60),
            double_ack: true,
        }
    }

    /// Only messages of this subject, in which `*` and `>` stand for others.
    pub fn subject(mut self, filter: &str) -> Self {
        self.subject = Some(filter.into());
        self
    }

    /// The subject that what is put aside is published to. A stream has to keep it, and the consumer must
    /// not get it.
    pub fn dead_letters(mut self, subject: &str) -> Self {
        self.dead_letters = subject.into();
        self
    }

    /// How many messages a source has at once: 32, and never less than one.
    pub fn prefetch(mut self, messages: usize) -> Self {
        self.prefetch = messages.max(1);
        self
    }

    /// How long a message stays with a source that is not heard of: 60 s. The lease has to be shorter, and is
    /// half of it if nothing else was chosen. A consumer that exists keeps its own `ack_wait`.
    pub const fn visibility(mut self, ack_wait: Duration) -> Self {
        self.visibility = ack_wait;
        self
    }

    /// Whether the server's word is awaited when a message is settled: yes. Without, what is lost on the way
    /// to the server goes unnoticed until the message comes again.
    pub const fn double_ack(mut self, confirmed: bool) -> Self {
        self.double_ack = confirmed;
        self
    }

    /// Publishes a message, to its subject or else to the consumer's or the stream's first, and waits until
    /// a stream has it.
    ///
    /// # Errors
    ///
    /// [`NatsError`]: the message may have been stored: publish it again, with the same id.
    pub async fn publish(&self, message: &Message) -> Result<PublishAck, NatsError> {
        let headers = entry::headers(message)?;
        let subject = match (&*message.subject, &self.subject) {
            ("", Some(filter)) => filter.to_string(),
            ("", None) => self.first_subject().await?,
            (subject, _) => subject.to_owned(),
        };
        if subject.split('.').any(|token| matches!(token, "*" | ">")) {
            return Err(NatsError::Subject { subject });
        }
        self.store(subject, headers, message).await
    }

    /// Gets the consumer, or creates it if it is not there: it begins with the first message that the stream
    /// has. The stream has to exist.
    ///
    /// # Errors
    ///
    /// [`SourceError`]: the server cannot be reached, or refuses, or messages could be lost:
    ///
    /// - [`ConfigError::AutoAck`](crate::ConfigError::AutoAck): the consumer exists, and its `ack_policy`
    ///   is not `explicit`.
    /// - [`NatsError`]: it takes another subject, or dead letters would not be kept.
    pub async fn open(&self) -> Result<NatsSource, SourceError> {
        // The client's futures are large.
        Box::pin(open::open(self)).await
    }
}

impl fmt::Debug for JetStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStream")
            .field("stream", &self.stream)
            .field("consumer", &self.consumer)
            .field("subject", &self.subject)
            .field("dead_letters", &self.dead_letters)
            .field("prefetch", &self.prefetch)
            .field("visibility", &self.visibility)
            .field("double_ack", &self.double_ack)
            .finish_non_exhaustive()
    }
}
