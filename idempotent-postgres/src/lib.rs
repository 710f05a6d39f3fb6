//! The PostgreSQL store of `idempotency`: a table in a database that is there already.
//!
//! A service runs on several machines and keeps its data in PostgreSQL, and its retries should be
//! harmless whichever machine they meet. [`PostgresStore`] keeps the records in a table, which all
//! that connect to the database share, and which survives them.
//!
//! ```no_run
//! // It needs a server.
//! use idempotent_core::{Engine, Error};
//! use idempotent_postgres::PostgresStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = PostgresStore::connect("postgres://app@localhost/shop").await?;
//! let engine = Engine::new(store);
//! for _ in 0..2 {
//!     let charge = engine.operation("payments.charge").key("order-17");
//!     let receipt = charge.run(async { Ok::<_, Error>("charged".to_owned()) }).await?;
//!     assert_eq!(receipt, "charged"); // once run, once replayed
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - All that the protocol promises, among all that connect to the database. What a claim finds is
//!   judged by [`apply`](idempotent_core::protocol::apply) itself, and written only if the row is
//!   still as it was found. The few shortcuts past it are compared with it by random sequences of
//!   operations.
//! - Whatever was answered survives the death of any process, and of the server: with
//!   `synchronous_commit` and `fsync` as they are by default. Connecting warns where they are not, and
//!   [`PostgresStore::server`] tells.
//! - A duplicate takes no lock and writes nothing, neither to the table nor to the log.
//! - Time is the server's own. Leases and records do not depend on any client's clock.
//! - A record that cannot be read, or is of a newer format, is refused and left as it is.
//!
//! # What is not
//!
//! - An effect outside of the store happens at least once, or at most once, as for every store: see
//!   `idempotent-core`. So does one in the same database, unless it is in a transaction that holds the
//!   record too: see [`RecordsIn`](idempotent_core::RecordsIn) and the features below.
//! - A failover to a standby that had not received everything forgets what it had not, which would
//!   run again. `synchronous_standby_names` prevents it.
//! - Nothing purges by itself: a [`Purger`](idempotent_core::Purger) removes expired records in the
//!   background, in as many of your processes as you like. The store is as right without one, and the
//!   table larger.
//! - A disk without any room takes no claim, and no result either, until there is some again.
//!
//! # The server
//!
//! PostgreSQL 13 or newer, the primary: a standby is refused. The tables are created when the first
//! store connects, unless [`migrate`](PostgresOptions::migrate) says that this is yours to do. After
//! that, the rights to `SELECT`, `INSERT`, `UPDATE` and `DELETE` are enough.
//!
//! Four [connections](PostgresOptions::connections) carry all operations, however many callers there
//! are. Behind PgBouncer with `pool_mode = transaction`, say so:
//! [`behind_pooler`](PostgresOptions::behind_pooler).
//!
//! The driver logs each statement at the level `debug` of the crate `log`, with the types of its
//! parameters and without their values.
//!
//! # The tables
//!
//! One row is one record, and can be read with `psql`:
//!
//! ```sql
//! SELECT key, state, attempt, to_timestamp(expires_at / 1000000.0), convert_from(result, 'UTF8')
//!   FROM idempotency_record;
//! ```
//!
//! `state` is `P` (in progress), `C` (completed), `F` (failed), `R` (released) or `I` (in doubt). A
//! record past `expires_at` counts as absent.
//!
//! A completion changes the row in place, without a touch on the indexes, as long as the ttl is an hour
//! or more. With a shorter one, each completion also moves the row in the index of expiry.
//!
//! # Features
//!
//! | feature | what it brings |
//! | --- | --- |
//! | `deadpool` | `PostgresStore::transactions`: transactions of `tokio-postgres`, from a pool of `deadpool-postgres` |
//! | `sqlx` | `PostgresStore::sqlx_transactions`: transactions of `sqlx`; needs Rust 1.94 |
//! | `tls-rustls` | `sslmode=require` by rustls, with the platform's certificates; the application installs a crypto provider |
//!
//! None is on by default. For other TLS, pass a connector to [`PostgresOptions::connect_with`].

#![cfg_attr(docsrs_idempotency, feature(doc_cfg))]

mod change;
mod columns;
mod connector;
mod driver;
mod error;
mod inspect;
mod link;
mod migrate;
mod notify;
mod options;
#[cfg(any(feature = "deadpool", feature = "sqlx"))]
mod outbox;
mod records;
mod schema;
mod server;
mod session;
mod sql;
mod store;
#[cfg(feature = "tls-rustls")]
mod tls;
mod transaction;
mod value;

#[cfg(feature = "deadpool")]
pub use deadpool_postgres;
#[cfg(feature = "sqlx")]
pub use sqlx;
pub use tokio_postgres;

pub use self::options::PostgresOptions;
pub use self::server::{Durability, Server};
pub use self::store::PostgresStore;
pub use self::transaction::Isolation;
#[cfg(feature = "sqlx")]
pub use self::transaction::SqlxTransactions;
#[cfg(feature = "deadpool")]
pub use self::transaction::{PostgresTransaction, PostgresTransactions};
