//! Makes async functions safe to retry: the second call returns the first call's answer.
//!
//! Services retry: clients, proxies, queues and people press the button twice. An idempotent function
//! claims its key, runs, and records its result; whoever calls it again with the same key gets that
//! result, and the card is charged once. What remembers is a store: this process's memory, a file,
//! Redis or a database.
//!
//! # Example
//!
//! ```
//! use idempotency::{Engine, Error, MemoryStore, idempotent};
//! use serde::Serialize;
//!
//! #[derive(Serialize)]
//! struct NewOrder {
//!     customer: String,
//!     request_id: String,
//!     item: String,
//! }
//!
//! #[idempotent(key = "{order.customer}:{order.request_id}", ttl = "24h", engine = engine)]
//! async fn create_order(engine: &Engine, order: NewOrder) -> Result<String, Error> {
//!     println!("ordering {}", order.item);
//!     Ok(format!("confirmation for {}", order.customer))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! let engine = Engine::new(MemoryStore::new());
//! let order = || NewOrder {
//!     customer: "ada".to_owned(),
//!     request_id: "7f9c".to_owned(),
//!     item: "tea".to_owned(),
//! };
//!
//! let first = create_order(&engine, order()).await?;
//! let retry = create_order(&engine, order()).await?; // prints nothing
//! assert_eq!(first, retry);
//!
//! let other = NewOrder { item: "coffee".to_owned(), ..order() };
//! let error = create_order(&engine, other).await.unwrap_err();
//! assert!(matches!(error, Error::FingerprintMismatch));
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! For calls with one key, on one store, as long as the record lives:
//!
//! - Of any number of concurrent calls one runs. The others wait for it and return its result.
//! - A call after that returns the recorded result. It never runs the function, unless the engine is
//!   told to [shadow](EngineBuilder::shadow) it.
//! - A key that comes back with other arguments is an error, and changes nothing.
//! - If nobody knows what happened, the answer is never a guess: a store that fails, a record that
//!   cannot be read and a result that was lost are errors, not executions.
//!
//! # What is not
//!
//! A function that dies in the middle may have had its effect. What the next call does then is a
//! choice ([`OnAbandoned`]): it runs again (at least once, the default), it refuses (at most once),
//! or it asks. Exactly once needs a downstream that deduplicates by a key of its own, for which
//! [`Attempt::key_for`] gives a stable one; or an effect in the store's own database, in the same
//! [transaction](transactions).
//!
//! A long operation records its [steps], and goes on after a crash from the last of them.
//!
//! An `Err` is not recorded unless [`on_error`](macro@idempotent#arguments) says so: a retry runs
//! again.
//!
//! # Vocabulary
//!
//! A *key* is a *scope*, which says which operation it belongs to, and the caller's value. A
//! *fingerprint* is a digest of the arguments. An *attempt* is one run of the operation. A *claim*
//! makes one caller the one who runs; it holds for a *lease*, which is renewed while the operation
//! runs. A *record* is what a store keeps, for its *ttl* after the operation has finished. A
//! *replay* returns a recorded result. A *conflict* is a claim while another attempt is in progress,
//! and a *takeover* one over an expired lease.
//!
//! # Without the attribute
//!
//! [`Engine::operation`] does everything that the attribute does, for any future.
//!
//! # Features
//!
//! | feature | default | what for |
//! | --- | --- | --- |
//! | `axum` | | an extractor for axum, and the paths that its routers match |
//! | `consumer` | | consumers of messages from a queue: the module [`consumer`] |
//! | `deadpool` | | transactions of `tokio-postgres` on the PostgreSQL store, from a pool of `deadpool-postgres` |
//! | `http` | | the `Idempotency-Key` header, as a tower layer: the module [`http`] |
//! | `http-client` | | retries on the client's side, with a key for each request |
//! | `macros` | yes | the attribute [`idempotent`](macro@idempotent) |
//! | `metrics` | | counts events with the `metrics` facade |
//! | `nats` | | consumers of NATS JetStream |
//! | `postgres` | | the PostgreSQL store |
//! | `rabbitmq` | | consumers of RabbitMQ |
//! | `redis` | | the Redis and Valkey store |
//! | `redis-streams` | | consumers of Redis Streams |
//! | `sqlite` | | the embedded durable store: one file, no set-up |
//! | `sqlx` | | transactions of `sqlx` on the PostgreSQL store; needs Rust 1.94 |
//! | `uuid` | | keys that are `uuid::Uuid` |

#![cfg_attr(docsrs_idempotency, feature(doc_cfg))]

#[doc = include_str!("steps.md")]
pub mod steps {}
#[doc = include_str!("transactions.md")]
pub mod transactions {}

#[cfg(feature = "consumer")]
#[doc(inline)]
pub use idempotent_consumer as consumer;
#[doc(inline)]
pub use idempotent_core::*;
#[cfg(feature = "http")]
#[doc(inline)]
pub use idempotent_http as http;
/// Makes an async function return the answer of its first call with the same key.
///
#[doc = include_str!("idempotent.md")]
#[cfg(feature = "macros")]
pub use idempotent_macros::idempotent;
#[cfg(feature = "postgres")]
#[doc(inline)]
pub use idempotent_postgres as postgres;
#[cfg(feature = "redis")]
#[doc(inline)]
pub use idempotent_redis as redis;
#[cfg(feature = "sqlite")]
#[doc(inline)]
pub use idempotent_sqlite as sqlite;

/// The examples of the repository's first page run as tests.
#[cfg(all(doctest, feature = "http", feature = "macros"))]
#[doc = include_str!("../../README.md")]
struct Readme;
