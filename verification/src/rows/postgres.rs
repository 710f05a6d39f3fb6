//! Rows of a PostgreSQL database, in the transaction of their record.

use idempotency::postgres::{PostgresTransaction, PostgresTransactions};
use idempotency::{Attempt, Engine, Outcome, idempotent};

use crate::body::{Body, Failure};

#[derive(Clone, Debug)]
pub(crate) struct PostgresRows {
    engine: Engine,
    transactions: PostgresTransactions,
}

impl PostgresRows {
    pub(super) const fn new(engine: Engine, transactions: PostgresTransactions) -> Self {
        Self {
            engine,
            transactions,
        }
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
        transaction(tx in self.transactions)
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
        transaction(tx in self.transactions)
    )]
    pub(super) async fn outcome(&self, key: &str, body: Body) -> Result<Outcome<String>, Failure> {
        run(tx, body, &attempt).await.map(Outcome::new)
    }
}

async fn run(tx: &PostgresTransaction, body: Body, attempt: &Attempt) -> Result<String, Failure> {
    if let Some(idle) = body.order.idle {
        let limit = "SELECT set_config('idle_in_transaction_session_timeout', $1, true)";
        let millis = idle.as_millis().to_string();
        tx.query_one(limit, &[&millis]).await?;
    }
    let run = body.begin(attempt).await?;
    let row = "INSERT INTO ledger VALUES ($1, $2)";
    tx.execute(row, &[&run.entry.key, &run.entry.execution])
        .await?;
    run.end().await
}
