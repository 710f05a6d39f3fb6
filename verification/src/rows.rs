//! The functions under test whose effect is a row of the database that keeps the records.

mod apart;
mod postgres;
mod sqlite;

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Result;
use idempotency::Engine;
use idempotency::postgres::PostgresStore;
use idempotency::postgres::deadpool_postgres::{Manager, Pool, PoolError};
use idempotency::postgres::tokio_postgres::{self, Config, NoTls};
use idempotency::sqlite::{SqliteStore, rusqlite};

use self::apart::{Apart, Database};
use self::postgres::PostgresRows;
use self::sqlite::SqliteRows;
use crate::body::{Body, Failure, Stage};
use crate::control::Control;
use crate::message::{Answer, Order};

/// A worker makes one call at a time, which needs another connection if it loses the first.
const CONNECTIONS: usize = 4;

/// What a worker calls.
#[derive(Clone, Debug)]
pub(crate) enum Rows {
    Apart(Apart),
    Postgres(PostgresRows),
    Sqlite(SqliteRows),
}

impl Rows {
    pub(crate) fn on_postgres(
        store: &PostgresStore,
        url: &str,
        engine: Engine,
        control: Option<Control>,
    ) -> Result<Self> {
        let manager = Manager::new(Config::from_str(url)?, NoTls);
        let pool = Pool::builder(manager).max_size(CONNECTIONS).build()?;
        Ok(if control == Some(Control::RecordApart) {
            Self::Apart(Apart::new(engine, Database::Postgres(pool)))
        } else {
            Self::Postgres(PostgresRows::new(engine, store.transactions(pool)))
        })
    }

    pub(crate) fn on_sqlite(
        store: SqliteStore,
        path: &Path,
        engine: Engine,
        control: Option<Control>,
    ) -> Self {
        if control == Some(Control::RecordApart) {
            Self::Apart(Apart::new(engine, Database::Sqlite(path.to_owned())))
        } else {
            Self::Sqlite(SqliteRows::new(engine, store))
        }
    }

    /// Carries an order out.
    pub(crate) async fn call(&self, stage: Arc<Stage>, order: Order) -> Answer {
        let (key, told) = (order.key.clone(), order.told);
        let body = Body { order, stage };
        match (self, told) {
            (Self::Apart(rows), false) => Answer::untold(rows.value(&key, body).await),
            (Self::Apart(rows), true) => Answer::told(rows.outcome(&key, body).await),
            (Self::Postgres(rows), false) => Answer::untold(rows.value(&key, body).await),
            (Self::Postgres(rows), true) => Answer::told(rows.outcome(&key, body).await),
            (Self::Sqlite(rows), false) => Answer::untold(rows.value(&key, body).await),
            (Self::Sqlite(rows), true) => Answer::told(rows.outcome(&key, body).await),
        }
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        Self::Database(error.into())
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}
