//! The embedded durable store of `idempotency`: one SQLite file, no set-up.

#![expect(clippy::doc_markdown, reason = "`SQLite` is a name rather than code")]

mod columns;
mod error;
mod inspect;
mod options;
mod place;
mod rows;
mod schema;
mod store;
mod writer;

pub use self::options::{Durability, SqliteOptions};
pub use self::store::SqliteStore;
