//! The PostgreSQL store of `idempotency`.

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
mod records;
mod schema;
mod server;
mod session;
mod sql;
mod store;
#[cfg(feature = "tls-rustls")]
mod tls;
mod value;

pub use tokio_postgres;

pub use self::options::PostgresOptions;
pub use self::server::{Durability, Server};
pub use self::store::PostgresStore;
