//! The bank in a PostgreSQL database.

use std::str::FromStr;

use idempotency::postgres::deadpool_postgres::{Manager, Pool};
use idempotency::postgres::tokio_postgres::{Config, Error, NoTls};
use idempotency::postgres::{PostgresStore, PostgresTransactions};
use idempotency::{BoxError, Engine, Outcome, idempotent};

use crate::bank::{Books, Failure, Receipt};
use crate::requests::{ACCOUNTS, OPENING, Request};

/// What all that open the bank at once take turns by.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7264)";

#[derive(Clone)]
pub(crate) struct PostgresBank {
    pool: Pool,
    transactions: PostgresTransactions,
    engine: Engine,
}

impl PostgresBank {
    pub(crate) async fn open(url: &str, clients: usize, fresh: bool) -> Result<Self, BoxError> {
        let store = PostgresStore::connect(url).await?;
        let manager = Manager::new(Config::from_str(url)?, NoTls);
        let pool = Pool::builder(manager).max_size(clients).build()?;
        let mut client = pool.get().await?;
        let set_up = client.transaction().await?;
        set_up.execute(LOCK, &[]).await?;
        if fresh {
            let empty = "DROP TABLE IF EXISTS accounts; DROP TABLE IF EXISTS ledger;
                         DELETE FROM idempotency_record;";
            set_up.batch_execute(empty).await?;
        }
        let create = format!(
            "CREATE TABLE IF NOT EXISTS accounts (id bigint PRIMARY KEY, cents bigint NOT NULL);
             CREATE TABLE IF NOT EXISTS ledger (request text NOT NULL, cents bigint NOT NULL);
             INSERT INTO accounts SELECT id, {OPENING} FROM generate_series(0, {ACCOUNTS} - 1) id
                 ON CONFLICT DO NOTHING;"
        );
        set_up.batch_execute(&create).await?;
        set_up.commit().await?;
        drop(client);
        Ok(Self {
            transactions: store.transactions(pool.clone()),
            pool,
            engine: Engine::new(store),
        })
    }

    #[idempotent(
        key = request.id,
        scope = "bank.transfer",
        ttl = "7d",
        engine = self.engine,
        transaction(tx in self.transactions)
    )]
    pub(crate) async fn transfer(&self, request: Request) -> Result<Outcome<Receipt>, Failure> {
        // In one order, whoever pays whom: two transfers must not wait for each other.
        let lock = "SELECT FROM accounts WHERE id IN ($1, $2) ORDER BY id FOR UPDATE";
        tx.execute(lock, &[&request.source, &request.target])
            .await?;
        let take = "UPDATE accounts SET cents = cents - $2 WHERE id = $1 AND cents >= $2
                    RETURNING cents";
        let left = tx
            .query_opt(take, &[&request.source, &request.cents])
            .await?;
        if left.is_some() {
            let give = "UPDATE accounts SET cents = cents + $2 WHERE id = $1";
            tx.execute(give, &[&request.target, &request.cents]).await?;
        }
        let cents = if left.is_some() { request.cents } else { 0 };
        let row = "INSERT INTO ledger VALUES ($1, $2)";
        tx.execute(row, &[&request.id, &cents]).await?;
        Ok(Outcome::new(match left {
            Some(row) => Receipt::Done { left: row.get(0) },
            None => Receipt::Declined,
        }))
    }

    pub(crate) async fn books(&self) -> Result<Books, BoxError> {
        let count = "SELECT (SELECT sum(cents)::bigint FROM accounts), count(*),
                            count(DISTINCT request)
                       FROM ledger";
        let row = self.pool.get().await?.query_one(count, &[]).await?;
        Ok(Books {
            cents: row.get(0),
            rows: row.get(1),
            requests: row.get(2),
        })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Database(error.into())
    }
}
