//! Consumers of messages whose messages take effect once, and of which none is lost.
//!
//! Queues deliver at least once. A [`Consumer`] claims the id of a message, runs the handler, records that it has
//! succeeded, and only then tells the broker:
//!
//! ```
//! use idempotent_consumer::{Consumer, HandlerError, Message, MessageId, TestBroker};
//! use idempotent_core::{Engine, MemoryStore};
//!
//! async fn order(message: Message) -> Result<u64, HandlerError> {
//!     let text = std::str::from_utf8(&message.body).map_err(HandlerError::permanent)?;
//!     let quantity: u64 = text.parse().map_err(HandlerError::permanent)?;
//!     // .. the effect that must not happen twice ..
//!     Ok(quantity)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = TestBroker::new().duplicating(100); // or a `Source` of your broker
//! broker.publish(Message::new("3").with_id(MessageId::Producer("order-17".into())));
//!
//! let engine = Engine::new(MemoryStore::new());
//! let worker = Consumer::builder(engine, "shop.order").build()?.leased(|message, _| order(message));
//! worker.run(broker.source(), broker.idle()).await?; // the second one is a duplicate
//! # Ok(())
//! # }
//! ```
//!
//! # What becomes of a message
//!
//! | situation | the handler | the broker is told |
//! | --- | --- | --- |
//! | new | runs | done, once that is recorded |
//! | has taken effect before | does not run | done |
//! | another body under the same id, or no id | does not run | put it aside |
//! | another consumer has it | does not run | again later, and nobody has failed |
//! | another consumer had it and fell silent | runs; the silence counts as a failure | done |
//! | its handler fails, or panics | has run | again, after a pause that doubles |
//! | its handler fails for good, or too often | has run | put it aside; a copy that is sent back begins anew |
//! | the store is down | does not run | again later, and nobody has failed |
//! | the store is lost after the handler | has run | again later; it may run again |
//!
//! # Three modes
//!
//! - [`Consumer::leased`]: the handler runs under a lease, with any store. After a crash between the effect and its record it
//!   runs again.
//! - [`Consumer::transactional`]: what the handler writes and the record are one commit: exactly once, for rows in the
//!   database that keeps the records.
//! - [`Consumer::annotated`]: the handler is an `#[idempotent]` function whose key is the message's id.
//!
//! # Brokers
//!
//! A broker is a [`Source`] of deliveries, each of which has a [`Settle`]; the documentation of that trait has one for
//! brokers with a visibility timeout. RabbitMQ is behind the feature `rabbitmq`, NATS JetStream behind `nats`, Redis Streams
//! behind `redis-streams`: see [`brokers`]. [`TestBroker`] is a broker in memory that does what real ones do at their
//! worst.
//!
//! A consumer that acknowledges before the message has taken effect cannot be idempotent: turn automatic acknowledgement
//! off. In brokers that commit positions, as Kafka does, acknowledge the part of a partition that is finished without
//! gaps, and nothing beyond it.
//!
//! A message that is published within a handler is published at least once. One that is staged in an
//! [outbox](idempotent_core::Outbox), in a transaction, is sent only if that commits.
//!
//! Messages are not kept in order: a retry overtakes nothing, and is overtaken.

#![cfg_attr(docsrs_idempotency, feature(doc_cfg))]

mod backoff;
mod breaker;
pub mod brokers;
mod builder;
mod call;
mod chain;
mod config;
mod consumer;
mod decide;
mod disposition;
mod ended;
mod events;
mod handle;
mod handler;
mod hold;
mod message;
mod mode;
mod outcome;
mod race;
mod run;
mod settle;
mod source;
mod stop;
mod strikes;
mod test_broker;
mod worker;

pub use self::backoff::Backoff;
pub use self::builder::Builder;
pub use self::config::{ConfigError, MissingId};
pub use self::consumer::Consumer;
pub use self::disposition::{
    Disposition, ERROR_HEADER, FAILURES_HEADER, ID_HEADER, REASON_HEADER, Reason, ReasonKind,
};
pub use self::events::{Counts, EventKind};
pub use self::handler::{Context, HandlerError};
pub use self::message::{Message, MessageId};
pub use self::mode::{Annotated, Leased, Mode, Transactional};
pub use self::outcome::{Outcome, Processed};
pub use self::run::RunError;
pub use self::settle::{Capabilities, Delivery, Settle, SettleError};
pub use self::source::{Source, SourceError};
pub use self::test_broker::{BrokerCounts, DeadLetter, TestBroker, TestSettle, TestSource};
pub use self::worker::Worker;
