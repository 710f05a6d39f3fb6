//! Records in Redis, and rides in a file of their own: no commit has both, so each phase has to be safe to
//! repeat, by the key of its step.

use std::fs;
use std::path::{Path, PathBuf};

use idempotency::redis::RedisStore;
use idempotency::{Attempt, BoxError, StepKey};

use crate::crash::{self, Point};
use crate::ride::{Receipt, Ride, RideError, Rows, Shop};
use crate::sqlite::{connect, rows};

/// What is written once for each key of a step.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS rides (
        id INTEGER NOT NULL, cents INTEGER NOT NULL, charge TEXT, key TEXT NOT NULL PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS audits (ride INTEGER NOT NULL, key TEXT NOT NULL PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS receipts (ride INTEGER NOT NULL, key TEXT NOT NULL PRIMARY KEY);
    PRAGMA journal_mode = WAL;";

#[derive(Clone)]
pub(crate) struct RedisShop {
    rows: PathBuf,
    store: RedisStore,
}

impl RedisShop {
    pub(crate) async fn open(url: &str, rows: &Path) -> Result<Self, BoxError> {
        let store = RedisStore::connect(url).await?;
        if let Some(folder) = rows.parent() {
            fs::create_dir_all(folder)?;
        }
        connect(rows)?.execute_batch(TABLES)?;
        let rows = rows.to_owned();
        Ok(Self { rows, store })
    }

    fn write_ride(&self, ride: &Ride, key: &StepKey) -> Result<(), RideError> {
        let mut database = connect(&self.rows)?;
        let tx = database.transaction_with_behavior(
            idempotency::sqlite::rusqlite::TransactionBehavior::Immediate,
        )?;
        let values = (ride.id, ride.cents, key.as_str());
        tx.execute(
            "INSERT OR IGNORE INTO rides VALUES (?1, ?2, NULL, ?3)",
            values,
        )?;
        let values = (ride.id, key.as_str());
        tx.execute("INSERT OR IGNORE INTO audits VALUES (?1, ?2)", values)?;
        crash::at(Point::InRide);
        Ok(tx.commit()?)
    }

    fn write_receipt(&self, ride: &Ride, charge: &str, key: &StepKey) -> Result<(), RideError> {
        let mut database = connect(&self.rows)?;
        let tx = database.transaction_with_behavior(
            idempotency::sqlite::rusqlite::TransactionBehavior::Immediate,
        )?;
        tx.execute(
            "UPDATE rides SET charge = ?2 WHERE id = ?1",
            (ride.id, charge),
        )?;
        let values = (ride.id, key.as_str());
        tx.execute("INSERT OR IGNORE INTO receipts VALUES (?1, ?2)", values)?;
        crash::at(Point::InReceipt);
        Ok(tx.commit()?)
    }
}

impl Shop for RedisShop {
    const ENDS_AT_ONCE: bool = false;

    type Store = RedisStore;

    fn store(&self) -> &RedisStore {
        &self.store
    }

    async fn begin(&self, run: &Attempt, ride: &Ride) -> Result<(), RideError> {
        run.step("ride", async |key| self.write_ride(ride, &key))
            .await
    }

    async fn end(&self, run: &Attempt, ride: &Ride, charge: &str) -> Result<Receipt, RideError> {
        run.step("receipt", async |key| {
            self.write_receipt(ride, charge, &key)
        })
        .await?;
        Ok(Receipt {
            ride: ride.id,
            charge: charge.to_owned(),
        })
    }

    async fn rows(&self, ride: u32) -> Result<Rows, BoxError> {
        Ok(rows(&connect(&self.rows)?, ride)?)
    }

    async fn send(&self) -> Result<Vec<u32>, BoxError> {
        let database = connect(&self.rows)?;
        let mut receipts = database.prepare("SELECT ride FROM receipts")?;
        let receipts = receipts.query_map((), |row| row.get(0))?;
        Ok(receipts.collect::<Result<_, _>>()?)
    }
}
