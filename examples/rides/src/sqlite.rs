//! Rides and records in one file: each phase is one commit.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use idempotency::sqlite::rusqlite::{self, Connection};
use idempotency::sqlite::{SqliteStore, SqliteTransaction};
use idempotency::{Attempt, BoxError, Lent, Message, Outbox, Relay, Taken};

use crate::crash::{self, Point};
use crate::ride::{Receipt, Ride, RideError, Rows, Shop};

/// The tables of the application.
pub(crate) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS rides (id INTEGER NOT NULL, cents INTEGER NOT NULL, charge TEXT);
    CREATE TABLE IF NOT EXISTS audits (ride INTEGER NOT NULL);";

#[derive(Clone)]
pub(crate) struct SqliteShop {
    path: PathBuf,
    store: SqliteStore,
}

impl SqliteShop {
    pub(crate) fn open(path: &Path) -> Result<Self, BoxError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let store = SqliteStore::open(path)?;
        connect(path)?.execute_batch(TABLES)?;
        let path = path.to_owned();
        Ok(Self { path, store })
    }
}

impl Shop for SqliteShop {
    const ENDS_AT_ONCE: bool = true;

    type Store = SqliteStore;

    fn store(&self) -> &SqliteStore {
        &self.store
    }

    async fn begin(&self, run: &Attempt, ride: &Ride) -> Result<(), RideError> {
        let write = |tx: Lent<SqliteTransaction>| async move {
            tx.execute(
                "INSERT INTO rides VALUES (?1, ?2, NULL)",
                (ride.id, ride.cents),
            )?;
            tx.execute("INSERT INTO audits VALUES (?1)", [ride.id])?;
            crash::at(Point::InRide);
            Ok(())
        };
        run.tx_step("ride", &self.store, write).await
    }

    async fn end(&self, run: &Attempt, ride: &Ride, charge: &str) -> Result<Receipt, RideError> {
        let receipt = &Message::new(run.key_for("receipt"), "receipts", ride.id.to_string());
        let write = |mut tx: Lent<SqliteTransaction>| async move {
            tx.execute(
                "UPDATE rides SET charge = ?2 WHERE id = ?1",
                (ride.id, charge),
            )?;
            let staged = self.store.stage(&mut tx, receipt).await;
            staged.map_err(|error| RideError::Database(error.into()))?;
            crash::at(Point::InReceipt);
            Ok(Receipt {
                ride: ride.id,
                charge: charge.to_owned(),
            })
        };
        run.finish_in(&self.store, write).await
    }

    async fn rows(&self, ride: u32) -> Result<Rows, BoxError> {
        Ok(rows(&connect(&self.path)?, ride)?)
    }

    async fn send(&self) -> Result<Vec<u32>, BoxError> {
        send(self.store.clone()).await
    }
}

/// Sends what waits in the outbox.
pub(crate) async fn send(outbox: impl Outbox) -> Result<Vec<u32>, BoxError> {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let relay = Relay::new(outbox, async |taken: Taken| {
        let ride = std::str::from_utf8(&taken.message.payload)?.parse()?;
        sent.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(ride);
        Ok::<(), BoxError>(())
    });
    relay.drain().await?;
    let sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(sent.clone())
}

pub(crate) fn rows(database: &Connection, ride: u32) -> Result<Rows, rusqlite::Error> {
    let count = "SELECT (SELECT count(*) FROM rides WHERE id = ?1 AND charge IS NOT NULL),
                        (SELECT count(*) FROM audits WHERE ride = ?1)";
    database.query_row(count, [ride], |row| {
        Ok(Rows {
            rides: row.get(0)?,
            audits: row.get(1)?,
        })
    })
}

pub(crate) fn connect(path: &Path) -> Result<Connection, rusqlite::Error> {
    let database = Connection::open(path)?;
    database.busy_timeout(Duration::from_secs(5))?;
    Ok(database)
}

impl From<rusqlite::Error> for RideError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}
