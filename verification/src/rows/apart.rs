//! Rows in transactions of their own, with records under a lease: what a crash in between breaks.

use std::path::PathBuf;
use std::time::Duration;

use idempotency::postgres::deadpool_postgres::Pool;
use idempotency::sqlite::rusqlite::Connection;
use idempotency::{Attempt, Engine, Outcome, idempotent};

use crate::body::{Body, Failure};
use crate::log::Entry;

/// Another process may have the lock of a file for a moment.
const BUSY: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub(crate) struct Apart {
    engine: Engine,
    database: Database,
}

/// Where the rows are.
#[derive(Clone, Debug)]
pub(super) enum Database {
    Postgres(Pool),
    Sqlite(PathBuf),
}

impl Apart {
    pub(super) const fn new(engine: Engine, database: Database) -> Self {
        Self { engine, database }
    }

    /// Returns a value alone.
    #[idempotent(
        key = key,
        scope = "verification.value",
        ttl = body.order.ttl,
        engine = self.engine,
        skip(body),
        on_conflict = wait(body.order.wait),
        ctx = attempt
    )]
    pub(super) async fn value(&self, key: &str, body: Body) -> Result<String, Failure> {
        self.run(body, &attempt).await
    }

    /// Says how its value came about.
    #[idempotent(
        key = key,
        scope = "verification.outcome",
        ttl = body.order.ttl,
        engine = self.engine,
        skip(body),
        on_conflict = wait(body.order.wait),
        ctx = attempt
    )]
    pub(super) async fn outcome(&self, key: &str, body: Body) -> Result<Outcome<String>, Failure> {
        self.run(body, &attempt).await.map(Outcome::new)
    }

    async fn run(&self, body: Body, attempt: &Attempt) -> Result<String, Failure> {
        let run = body.begin(attempt).await?;
        self.database.insert(&run.entry).await?;
        run.end().await
    }
}

impl Database {
    async fn insert(&self, entry: &Entry) -> Result<(), Failure> {
        let Entry { key, execution, .. } = entry;
        match self {
            Self::Postgres(pool) => {
                let client = pool.get().await?;
                let row = "INSERT INTO ledger VALUES ($1, $2)";
                client.execute(row, &[key, execution]).await?;
            }
            Self::Sqlite(path) => {
                let connection = Connection::open(path)?;
                connection.busy_timeout(BUSY)?;
                let row = "INSERT INTO ledger VALUES (?1, ?2)";
                connection.execute(row, [key, execution])?;
            }
        }
        Ok(())
    }
}
