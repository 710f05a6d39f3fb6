use std::fmt;
use std::time::Duration;

use idempotent_core::protocol::{Claim, ClaimRequest, Completion, Grant};
use idempotent_core::{CommitError, Key, Step, StoreError, TransactionalStore};
use sqlx::postgres::{PgConnection, PgPool, PgRow};
use sqlx::{AssertSqlSafe, Decode, Executor, Postgres, Row, Transaction, Type};

use super::Isolation;
use super::session::{Completing, Session, ended};
use crate::error::Error;
use crate::outbox::outbox;
use crate::store::{PostgresStore, step_values};
use crate::value::{Cell, Cells, OtherType, Value, cells};

/// Transactions of `sqlx`, which hold the claim, the operation's own rows and the result. The pool's
/// database must be the store's.
///
/// # Examples
///
/// ```no_run
/// // It needs a server.
/// use idempotent_core::{Engine, Error};
/// use idempotent_postgres::PostgresStore;
/// use sqlx::PgPool;
///
/// #[derive(Debug, thiserror::Error)]
/// enum Failure {
///     #[error(transparent)]
///     Idempotency(#[from] Error),
///     #[error(transparent)]
///     Sqlx(#[from] sqlx::Error),
/// }
///
/// # async fn create(store: PostgresStore, pool: PgPool) -> Result<(), Failure> {
/// let orders = store.sqlx_transactions(pool);
/// let engine = Engine::new(store);
/// let operation = engine.operation("orders.create").key("order-17");
/// let created = operation.run_in(&orders, |mut tx| async move {
///     sqlx::query("INSERT INTO orders VALUES ('order-17')").execute(&mut **tx).await?;
///     Ok::<_, Failure>("created".to_owned())
/// });
/// assert_eq!(created.await?, "created"); // the row and the record are there together
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SqlxTransactions {
    store: PostgresStore,
    pool: PgPool,
    isolation: Isolation,
}

impl PostgresStore {
    /// Transactions on the connections of `pool`, in the store's database.
    #[must_use]
    pub fn sqlx_transactions(&self, pool: PgPool) -> SqlxTransactions {
        SqlxTransactions {
            store: self.clone(),
            pool,
            isolation: Isolation::default(),
        }
    }
}

impl SqlxTransactions {
    /// Sets how much of what others do at the same time a transaction sees.
    #[must_use]
    pub const fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    async fn open(&self) -> Result<Transaction<'static, Postgres>, Error> {
        Ok(self.pool.begin_with(self.isolation.begin()).await?)
    }

    async fn try_claim(
        &self,
        key: &Key,
        request: &ClaimRequest,
        patience: Duration,
    ) -> Result<(Transaction<'static, Postgres>, Claim), Error> {
        let mut transaction = self.open().await?;
        let claim = self
            .store
            .claim_within(&mut *transaction, key, request, patience)
            .await?;
        Ok((transaction, claim))
    }
}

impl TransactionalStore for SqlxTransactions {
    type Transaction = Transaction<'static, Postgres>;

    fn name(&self) -> &'static str {
        "postgres"
    }

    async fn begin(&self) -> Result<Self::Transaction, StoreError> {
        Ok(self.open().await?)
    }

    async fn claim(
        &self,
        key: &Key,
        request: &ClaimRequest,
        patience: Duration,
    ) -> Result<(Self::Transaction, Claim), StoreError> {
        Ok(self.try_claim(key, request, patience).await?)
    }

    async fn complete(
        &self,
        mut transaction: Self::Transaction,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<(), CommitError> {
        let completed = self
            .store
            .complete_within(&mut *transaction, key, grant, completion);
        completed.await.map_err(rolled_back)?;
        end(transaction).await
    }

    async fn finish(
        &self,
        mut transaction: Self::Transaction,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<(), CommitError> {
        let completing = Completing::new(key, grant, completion).map_err(rolled_back)?;
        let sql = &self.store.records.sql.complete_within;
        let values = completing.values();
        let asked = transaction.ask(sql, &values, self.store.prepares());
        asked.await.map_err(|error| rolled_back(ended(error)))?;
        end(transaction).await
    }

    async fn record_step(
        &self,
        mut transaction: Self::Transaction,
        key: &Key,
        grant: &Grant,
        step: &Step,
        lease: Duration,
    ) -> Result<(), CommitError> {
        let values = step_values(key, grant, step, lease).map_err(rolled_back)?;
        let sql = &self.store.records.sql.record_step_within;
        let asked = transaction.ask(sql, &values, self.store.prepares());
        asked.await.map_err(|error| rolled_back(ended(error)))?;
        end(transaction).await
    }

    async fn commit(&self, mut transaction: Self::Transaction) -> Result<(), CommitError> {
        // `COMMIT` after a statement that failed rolls back, and is answered as if it had not.
        let alive = transaction.ask("SELECT 1", &[], false).await;
        alive.map_err(rolled_back)?;
        end(transaction).await
    }

    async fn rollback(&self, transaction: Self::Transaction) {
        // If this fails, the connection is closed, or rolls back before it is used again.
        _ = transaction.rollback().await;
    }
}

outbox!(SqlxTransactions, |transaction| &mut **transaction);

async fn end(transaction: Transaction<'static, Postgres>) -> Result<(), CommitError> {
    transaction.commit().await.map_err(|error| {
        let error = Error::from(error);
        if error.is_lost() {
            CommitError::Unknown(error.into())
        } else {
            rolled_back(error)
        }
    })
}

fn rolled_back(error: Error) -> CommitError {
    CommitError::RolledBack(error.into())
}

impl Session for PgConnection {
    type Row = PgRow;

    async fn ask(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        prepares: bool,
    ) -> Result<Vec<PgRow>, Error> {
        let mut query = sqlx::query(AssertSqlSafe(sql.to_owned())).persistent(prepares);
        for value in values {
            query = match value {
                Value::Blobs(blobs) => query.bind(blobs),
                Value::Bytes(bytes) => query.bind(bytes),
                Value::Flag(flag) => query.bind(flag),
                Value::Number(number) => query.bind(number),
                Value::Text(text) => query.bind(text),
            };
        }
        Ok(query.fetch_all(self).await?)
    }

    async fn execute(&mut self, sql: &str) -> Result<(), Error> {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        Executor::execute(self, sql).await?;
        Ok(())
    }
}

cells!(PgRow);

fn cell<'r, T: Decode<'r, Postgres> + Type<Postgres>>(row: &'r PgRow, column: usize) -> Cell<T> {
    row.try_get(column).map_err(|_| OtherType)
}

impl fmt::Debug for SqlxTransactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlxTransactions")
            .field("store", &self.store)
            .field("isolation", &self.isolation)
            .finish_non_exhaustive()
    }
}
