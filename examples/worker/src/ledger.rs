//! The rows that messages write.

use std::path::{Path, PathBuf};
use std::time::Duration;

use idempotency::BoxError;
use idempotency::consumer::{HandlerError, Message};
use idempotency::sqlite::SqliteStore;
use idempotency::sqlite::rusqlite::{self, Connection};

pub(crate) struct Ledger {
    path: PathBuf,
    store: SqliteStore,
}

/// What is in the ledger.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Rows {
    pub(crate) rows: u32,
    pub(crate) messages: u32,
}

impl Ledger {
    pub(crate) fn open(path: &Path) -> Result<Self, BoxError> {
        let ledger = Self {
            path: path.to_owned(),
            store: SqliteStore::open(path)?,
        };
        let create = "CREATE TABLE IF NOT EXISTS ledger (message TEXT NOT NULL) STRICT";
        ledger.connect()?.execute_batch(create)?;
        Ok(ledger)
    }

    pub(crate) const fn store(&self) -> &SqliteStore {
        &self.store
    }

    pub(crate) fn rows(&self) -> Result<Rows, BoxError> {
        let count = "SELECT count(*), count(DISTINCT message) FROM ledger";
        Ok(self.connect()?.query_row(count, (), |row| {
            Ok(Rows {
                rows: row.get(0)?,
                messages: row.get(1)?,
            })
        })?)
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let database = Connection::open(&self.path)?;
        database.busy_timeout(Duration::from_secs(5))?;
        Ok(database)
    }
}

pub(crate) fn write(tx: &Connection, message: &Message) -> Result<(), HandlerError> {
    let text = std::str::from_utf8(&message.body).map_err(HandlerError::permanent)?;
    tx.execute("INSERT INTO ledger VALUES (?1)", [text])?;
    Ok(())
}
