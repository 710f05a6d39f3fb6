//! Rides and records in one PostgreSQL database: each phase is one commit.

use std::str::FromStr;

use idempotency::postgres::deadpool_postgres::{Manager, Pool};
use idempotency::postgres::tokio_postgres::{self, Config, NoTls};
use idempotency::postgres::{PostgresStore, PostgresTransaction, PostgresTransactions};
use idempotency::{Attempt, BoxError, Lent, Message, Outbox};

use crate::crash::{self, Point};
use crate::ride::{Receipt, Ride, RideError, Rows, Shop};
use crate::sqlite::send;

/// The tables of the application, which many processes may create at once.
const TABLES: &str = "
    BEGIN;
    SELECT pg_advisory_xact_lock(7265);
    CREATE TABLE IF NOT EXISTS rides (id bigint NOT NULL, cents bigint NOT NULL, charge text);
    CREATE TABLE IF NOT EXISTS audits (ride bigint NOT NULL);
    COMMIT;";

/// Few, because many processes have a pool.
const CONNECTIONS: usize = 2;

#[derive(Clone)]
pub(crate) struct PostgresShop {
    pool: Pool,
    store: PostgresStore,
    transactions: PostgresTransactions,
}

impl PostgresShop {
    pub(crate) async fn open(url: &str) -> Result<Self, BoxError> {
        let store = PostgresStore::options().connections(1).connect(url).await?;
        let manager = Manager::new(Config::from_str(url)?, NoTls);
        let pool = Pool::builder(manager).max_size(CONNECTIONS).build()?;
        pool.get().await?.batch_execute(TABLES).await?;
        let transactions = store.transactions(pool.clone());
        Ok(Self {
            pool,
            store,
            transactions,
        })
    }
}

impl Shop for PostgresShop {
    const ENDS_AT_ONCE: bool = true;

    type Store = PostgresStore;

    fn store(&self) -> &PostgresStore {
        &self.store
    }

    async fn begin(&self, run: &Attempt, ride: &Ride) -> Result<(), RideError> {
        let (id, cents) = (i64::from(ride.id), i64::from(ride.cents));
        let write = |tx: Lent<PostgresTransaction>| async move {
            tx.execute("INSERT INTO rides VALUES ($1, $2, NULL)", &[&id, &cents])
                .await?;
            tx.execute("INSERT INTO audits VALUES ($1)", &[&id]).await?;
            crash::at(Point::InRide);
            Ok(())
        };
        run.tx_step("ride", &self.transactions, write).await
    }

    async fn end(&self, run: &Attempt, ride: &Ride, charge: &str) -> Result<Receipt, RideError> {
        let receipt = &Message::new(run.key_for("receipt"), "receipts", ride.id.to_string());
        let write = |mut tx: Lent<PostgresTransaction>| async move {
            let id = i64::from(ride.id);
            tx.execute(
                "UPDATE rides SET charge = $2 WHERE id = $1",
                &[&id, &charge],
            )
            .await?;
            let staged = self.transactions.stage(&mut tx, receipt).await;
            staged.map_err(|error| RideError::Database(error.into()))?;
            crash::at(Point::InReceipt);
            Ok(Receipt {
                ride: ride.id,
                charge: charge.to_owned(),
            })
        };
        run.finish_in(&self.transactions, write).await
    }

    async fn rows(&self, ride: u32) -> Result<Rows, BoxError> {
        let count = "SELECT (SELECT count(*) FROM rides WHERE id = $1 AND charge IS NOT NULL),
                            (SELECT count(*) FROM audits WHERE ride = $1)";
        let ride = i64::from(ride);
        let row = self.pool.get().await?.query_one(count, &[&ride]).await?;
        Ok(Rows {
            rides: row.get(0),
            audits: row.get(1),
        })
    }

    async fn send(&self) -> Result<Vec<u32>, BoxError> {
        send(self.transactions.clone()).await
    }
}

impl From<tokio_postgres::Error> for RideError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}
