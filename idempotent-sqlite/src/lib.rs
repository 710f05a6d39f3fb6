//! The embedded durable store of `idempotency`: one SQLite file, no set-up.
//!
//! A service on one machine wants its retries to be harmless, and to stay so when it crashes, but not
//! a database server for that. [`SqliteStore`] keeps the records in a file. All the machine's
//! processes may share it, and it may be the application's own SQLite database.
//!
//! ```
//! use idempotent_core::{Engine, Error};
//! use idempotent_sqlite::SqliteStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("idempotency.db");
//! let engine = Engine::new(SqliteStore::open(path)?);
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
//! - All that the protocol promises, among all the processes that open the file. SQLite lets one
//!   write at a time, and inside that turn the store calls
//!   [`apply`](idempotent_core::protocol::apply) itself.
//! - Whatever was answered survives the death of any process, and with [`Durability::Full`], the
//!   default, a power failure.
//! - A record that cannot be read, or is of a newer format, is refused and left as it is.
//! - An effect in the same file, in a [transaction](SqliteTransaction) of the store's, happens exactly
//!   once.
//!
//! # What is not
//!
//! - An effect outside of the file happens at least once, or at most once, as for every store: see
//!   `idempotent-core`.
//! - The file must be on a disk of the machine. On Linux, network file systems are recognised and
//!   refused; elsewhere nothing keeps you from one, and its locks may not hold.
//! - Nobody may move, replace or delete the file, or `-wal` and `-shm` beside it, while it is open:
//!   the store would go on writing to a file that the next process does not find. Copy it with
//!   `VACUUM INTO`. A copy that is put back has forgotten what came after it, which would run again.
//! - On a disk without any room nothing can be written: no claim, and no result either, until there
//!   is some again. [`SqliteOptions::max_bytes`] stops new work before that.
//! - A process that is stopped (`SIGSTOP`, a debugger) in the middle of a write keeps the file's lock.
//!   Calls of other processes wait for it for five seconds, and then fail with
//!   [`Error::Store`](idempotent_core::Error::Store), having run nothing.
//! - SQLite before 3.51.3 can, very rarely, damage a file that several connections write to
//!   (<https://sqlite.org/wal.html#walresetbug>). The `bundled` one depends on the version of
//!   `rusqlite` that your other dependencies agree to.
//!
//! # The tables
//!
//! One row is one record, and can be read with `sqlite3`:
//!
//! ```sql
//! SELECT key, state, attempt, datetime(expires_at / 1000000, 'unixepoch'), result
//!   FROM idempotency_record;
//! ```
//!
//! `state` is `P` (in progress), `C` (completed), `F` (failed), `R` (released) or `I` (in doubt). A
//! record past `expires_at` counts as absent. Each new record takes up to two of those with it, so
//! that the file does not grow for ever; [`Inspect::purge`](idempotent_core::Inspect::purge) removes
//! them in bulk, and a [`Purger`](idempotent_core::Purger) does so again and again.
//!
//! # Features
//!
//! `bundled` (default) compiles SQLite in. Without it the system's library is linked, which must be
//! 3.37 or newer.

mod columns;
mod error;
mod inspect;
mod options;
mod outbox;
mod place;
mod rows;
mod schema;
mod store;
mod transaction;
mod writer;

pub use self::options::{Durability, SqliteOptions};
pub use rusqlite;

pub use self::store::SqliteStore;
pub use self::transaction::SqliteTransaction;
