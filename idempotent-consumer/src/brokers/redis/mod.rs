//! Redis Streams: a stream, and a group of consumers who share its entries.
//!
//! An entry that was delivered and not acknowledged stays with its consumer, until it has been idle for the
//! [visibility](RedisStream::visibility): then another takes it over. An entry that is to come again is made
//! idle for so long at once, after it was held for the pause; one that is put aside moves to the stream of dead
//! letters, in one transaction of the server.
//!
//! In an entry, the field `id` is the message's id, as its producer has chosen it, and `body` is what it says.
//! All others are headers. Without an `id`, an entry's own number tells its redeliveries, and nothing else.
//!
//! What Redis has acknowledged can be lost in a crash or a failover, and a message with it: see its
//! `appendfsync`.
//!
//! # Examples
//!
//! ```no_run
//! // It needs a server.
//! use idempotent_consumer::brokers::redis::RedisStream;
//! use idempotent_consumer::{Consumer, Message, MessageId};
//! use idempotent_core::{Engine, MemoryStore};
//!
//! # async fn consume() -> Result<(), Box<dyn std::error::Error>> {
//! let orders = RedisStream::new(redis::Client::open("redis://localhost/")?, "orders", "billing");
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
mod link;
mod settle;
mod source;

use std::sync::Arc;
use std::time::Duration;

use redis::{Client, RedisError, cmd};

use self::link::Link;
pub use self::settle::RedisSettle;
pub use self::source::RedisSource;
use crate::message::Message;
use crate::source::SourceError;

/// A stream, and a group of its consumers.
///
/// # Clone
///
/// A clone is a handle to the same connection.
#[derive(Clone, Debug)]
#[must_use = "nothing is consumed until it is opened"]
pub struct RedisStream {
    link: Arc<Link>,
    stream: Arc<str>,
    group: Arc<str>,
    dead_letters: Arc<str>,
    prefetch: usize,
    visibility: Duration,
}

impl RedisStream {
    /// The entries of `stream` that are for `group`. What is put aside goes to `{stream}:dead`.
    pub fn new(client: Client, stream: &str, group: &str) -> Self {
        Self {
            link: Arc::new(Link::new(client)),
            stream: stream.into(),
            group: group.into(),
            dead_letters: format!("{stream}:dead").into(),
            prefetch: 32,
            visibility: Duration::from_secs(60),
        }
    }

    /// Where what is put aside goes.
    pub fn dead_letters(mut self, stream: &str) -> Self {
        self.dead_letters = stream.into();
        self
    }

    /// How many entries a consumer has at once: 32, and never less than one.
    pub fn prefetch(mut self, entries: usize) -> Self {
        self.prefetch = entries.max(1);
        self
    }

    /// How long an entry stays with a consumer that is not heard of: 60 s. The lease has to be shorter, and
    /// is half of it if nothing else was chosen.
    pub const fn visibility(mut self, visibility: Duration) -> Self {
        self.visibility = visibility;
        self
    }

    /// Adds a message to the stream.
    ///
    /// # Errors
    ///
    /// Those of the server. The message may have been added: add it again, with the same id.
    pub async fn publish(&self, message: &Message) -> Result<(), RedisError> {
        let mut add = cmd("XADD");
        add.arg(&*self.stream).arg("*");
        for (name, value) in entry::fields(message) {
            add.arg(name).arg(value);
        }
        self.link.ask(&add).await
    }

    /// Joins the group, and creates both if they are not there. Whoever creates the group gets all that
    /// the stream has.
    ///
    /// # Errors
    ///
    /// [`SourceError`]: the server cannot be reached, or refuses.
    pub async fn open(&self) -> Result<RedisSource, SourceError> {
        let mut create = cmd("XGROUP");
        create
            .arg("CREATE")
            .arg(&*self.stream)
            .arg(&*self.group)
            .arg("0")
            .arg("MKSTREAM");
        match self.link.ask::<()>(&create).await {
            Err(error) if error.code() != Some("BUSYGROUP") => return Err(SourceError::new(error)),
            Ok(()) | Err(_) => {}
        }
        Ok(RedisSource::start(self.clone()))
    }
}
