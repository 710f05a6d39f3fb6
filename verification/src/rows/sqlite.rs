//! Rows of a SQLite file, in the transaction of their record.

use idempotency::sqlite::{SqliteStore, SqliteTransaction};
use idempotency::{Attempt, Engine, Outcome, idempotent};

use crate::body::{Body, Failure};

#[derive(Clone, Debug)]
pub(crate) struct SqliteRows {
    engine: Engine,
    store: SqliteStore,
}

impl SqliteRows {
    pub(super) const fn new(engine: Engine, store: SqliteStore) -> Self {
        Self { engine, store }
    }

    /// Returns a value alone.
    #[idempotent(
        key = key,
        scope = "verification.value",
        ttl = body.order.ttl,
        engine = self.engine,
        skip(body),
        on_conflict = wait(body.order.wait),
        ctx = attempt,
        transaction(tx in self.store)
    )]
    pub(super) async fn value(&self, key: &str, body: Body) -> Result<String, Failure> {
        run(tx, body, &attempt).await
    }

    /// Says how its value came about.
    #[idempotent(
        key = key,
        scope = "verification.outcome",
        ttl = body.order.ttl,
        engine = self.engine,
        skip(body),
        on_conflict = wait(body.order.wait),
        ctx = attempt,
        transaction(tx in self.store)
    )]
    pub(super) async fn outcome(&self, key: &str, body: Body) -> Result<Outcome<String>, Failure> {
        run(tx, body, &attempt).await.map(Outcome::new)
    }
}

async fn run(tx: &mut SqliteTransaction, body: Body, attempt: &Attempt) -> Result<String, Failure> {
    let run = body.begin(attempt).await?;
    let row = "INSERT INTO ledger VALUES (?1, ?2)";
    tx.execute(row, [&run.entry.key, &run.entry.execution])?;
    run.end().await
}
