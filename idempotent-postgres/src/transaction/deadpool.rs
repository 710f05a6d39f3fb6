use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Object, Pool};
use futures_util::future::join;
use futures_util::{TryFutureExt, TryStreamExt};
use idempotent_core::protocol::{Claim, ClaimRequest, Completion, Grant};
use idempotent_core::{CommitError, Key, Step, StoreError, TransactionalStore};
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Statement};

use super::Isolation;
use super::session::{Asking, Completing, Session, ended};
use crate::error::Error;
use crate::outbox::outbox;
use crate::store::PostgresStore;
use crate::store::step_values;
use crate::value::Value;

/// Transactions on the connections of a pool, which hold the claim, the operation's own rows and the
/// result. The database must be the store's.
///
/// The claim travels with `BEGIN`, and the result with `COMMIT`: an operation takes two round trips
/// more than its own statements, and one commit.
///
/// # Examples
///
/// ```no_run
/// // It needs a server.
/// use deadpool_postgres::Pool;
/// use idempotent_core::{Engine, Error};
/// use idempotent_postgres::{PostgresStore, tokio_postgres};
///
/// #[derive(Debug, thiserror::Error)]
/// enum Failure {
///     #[error(transparent)]
///     Idempotency(#[from] Error),
///     #[error(transparent)]
///     Postgres(#[from] tokio_postgres::Error),
/// }
///
/// # async fn create(store: PostgresStore, pool: Pool) -> Result<(), Failure> {
/// let orders = store.transactions(pool);
/// let engine = Engine::new(store);
/// let operation = engine.operation("orders.create").key("order-17");
/// let created = operation.run_in(&orders, |tx| async move {
///     tx.execute("INSERT INTO orders VALUES ('order-17')", &[]).await?;
///     Ok::<_, Failure>("created".to_owned())
/// });
/// assert_eq!(created.await?, "created"); // the row and the record are there together
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresTransactions {
    store: PostgresStore,
    pool: Pool,
    isolation: Isolation,
}

/// An open transaction, and the connection that it is on.
///
/// Leave its end to whoever opened it; `COMMIT` in an operation is an error of that operation.
///
/// # Drop
///
/// Closes the connection, so that the server rolls back before anybody else can use it.
pub struct PostgresTransaction {
    /// There until the transaction has ended.
    object: Option<Object>,
    prepares: bool,
}

/// A statement that can be sent without another round trip.
enum Ready<'a> {
    Prepared(Statement, &'a [Value<'a>]),
    Text(&'a str, &'a [Value<'a>], Vec<Type>),
}

const THERE: &str = "a transaction has its connection until it ends";

impl PostgresStore {
    /// Transactions on the connections of `pool`, in the store's database.
    #[must_use]
    pub fn transactions(&self, pool: Pool) -> PostgresTransactions {
        PostgresTransactions {
            store: self.clone(),
            pool,
            isolation: Isolation::default(),
        }
    }
}

impl PostgresTransactions {
    /// Sets how much of what others do at the same time a transaction sees.
    #[must_use]
    pub const fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    async fn connect(&self) -> Result<PostgresTransaction, Error> {
        let object = self.pool.get().await;
        Ok(PostgresTransaction {
            object: Some(object.map_err(|error| Error::Pool(Arc::new(error)))?),
            prepares: self.store.prepares(),
        })
    }

    async fn try_claim(
        &self,
        key: &Key,
        request: &ClaimRequest,
        patience: Duration,
    ) -> Result<(PostgresTransaction, Claim), Error> {
        let asking = Asking::new(&self.store, key, request, patience);
        let sql = &self.store.records.sql.claim_within;
        let mut transaction = self.connect().await?;
        let values = asking.values()?;
        let ready = transaction.prepare(sql, &values).await?;
        // Sent in this order, without a pause.
        let (begun, rows) = join(
            transaction.batch_execute(self.isolation.begin()),
            transaction.query(ready),
        )
        .await;
        begun?;
        let claim = asking.judge(&mut transaction, rows).await?;
        Ok((transaction, claim))
    }
}

impl PostgresTransaction {
    /// Gets a statement ready. Until then, whatever is sent after it may overtake it.
    async fn prepare<'a>(&self, sql: &'a str, values: &'a [Value<'a>]) -> Result<Ready<'a>, Error> {
        let types: Vec<_> = values.iter().map(Value::sql_type).collect();
        Ok(if self.prepares {
            Ready::Prepared(self.prepare_typed_cached(sql, &types).await?, values)
        } else {
            Ready::Text(sql, values, types)
        })
    }

    /// Runs a statement that is sent at once, when this is first polled.
    async fn query(&self, ready: Ready<'_>) -> Result<Vec<Row>, Error> {
        let rows = match ready {
            Ready::Prepared(statement, values) => self.query_raw(&statement, values).await?,
            Ready::Text(sql, values, types) => {
                let values = values.iter().zip(types);
                self.query_typed_raw(sql, values).await?
            }
        };
        Ok(rows.try_collect().await?)
    }

    /// Runs a last statement and commits, in one round trip.
    async fn commit_with(mut self, sql: &str, values: &[Value<'_>]) -> Result<(), CommitError> {
        let ready = self.prepare(sql, values).await.map_err(rolled_back)?;
        // If the first fails, the server rolls back at the second.
        let (last, committed) = join(
            self.query(ready),
            self.batch_execute("COMMIT").map_err(Error::from),
        )
        .await;
        settled(&mut self, last.map(drop), committed)
    }

    /// Gives the connection back after the transaction has ended.
    fn end(&mut self) {
        self.object = None;
    }
}

impl Session for PostgresTransaction {
    type Row = Row;

    async fn ask(&mut self, sql: &str, values: &[Value<'_>], _: bool) -> Result<Vec<Row>, Error> {
        let ready = self.prepare(sql, values).await?;
        self.query(ready).await
    }

    async fn execute(&mut self, sql: &str) -> Result<(), Error> {
        Ok(self.batch_execute(sql).await?)
    }
}

impl TransactionalStore for PostgresTransactions {
    type Transaction = PostgresTransaction;

    fn name(&self) -> &'static str {
        "postgres"
    }

    async fn begin(&self) -> Result<PostgresTransaction, StoreError> {
        let mut transaction = self.connect().await?;
        transaction.execute(self.isolation.begin()).await?;
        Ok(transaction)
    }

    async fn claim(
        &self,
        key: &Key,
        request: &ClaimRequest,
        patience: Duration,
    ) -> Result<(PostgresTransaction, Claim), StoreError> {
        Ok(self.try_claim(key, request, patience).await?)
    }

    async fn complete(
        &self,
        transaction: PostgresTransaction,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<(), CommitError> {
        let completing = Completing::new(key, grant, completion).map_err(rolled_back)?;
        let (sql, parameters) = completing.statement(&self.store.records.sql);
        transaction
            .commit_with(sql, &completing.values()[..parameters])
            .await
    }

    async fn finish(
        &self,
        transaction: PostgresTransaction,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<(), CommitError> {
        let completing = Completing::new(key, grant, completion).map_err(rolled_back)?;
        let sql = &self.store.records.sql.complete_within;
        transaction.commit_with(sql, &completing.values()).await
    }

    async fn record_step(
        &self,
        transaction: PostgresTransaction,
        key: &Key,
        grant: &Grant,
        step: &Step,
        lease: Duration,
    ) -> Result<(), CommitError> {
        let values = step_values(key, grant, step, lease).map_err(rolled_back)?;
        let sql = &self.store.records.sql.record_step_within;
        transaction.commit_with(sql, &values).await
    }

    async fn commit(&self, transaction: PostgresTransaction) -> Result<(), CommitError> {
        // `COMMIT` after a statement that failed rolls back, and is answered as if it had not.
        transaction.commit_with("SELECT 1", &[]).await
    }

    async fn rollback(&self, mut transaction: PostgresTransaction) {
        if transaction.execute("ROLLBACK").await.is_ok() {
            transaction.end();
        }
    }
}

outbox!(PostgresTransactions, |transaction| transaction);

/// What a last statement and the `COMMIT` after it have come to.
fn settled(
    transaction: &mut PostgresTransaction,
    last: Result<(), Error>,
    committed: Result<(), Error>,
) -> Result<(), CommitError> {
    match (last.map_err(ended), committed) {
        (Ok(()), Ok(())) => {
            transaction.end();
            Ok(())
        }
        (_, Err(error)) if error.is_lost() => Err(CommitError::Unknown(error.into())),
        (Err(error), Ok(())) => {
            transaction.end();
            Err(rolled_back(error))
        }
        (Err(error), _) | (Ok(()), Err(error)) => Err(rolled_back(error)),
    }
}

fn rolled_back(error: Error) -> CommitError {
    CommitError::RolledBack(error.into())
}

impl Deref for PostgresTransaction {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        self.object.as_ref().expect(THERE)
    }
}

/// For savepoints, which need it.
impl DerefMut for PostgresTransaction {
    fn deref_mut(&mut self) -> &mut ClientWrapper {
        self.object.as_mut().expect(THERE)
    }
}

impl Drop for PostgresTransaction {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            // Out of the pool: what is still going on there is nobody else's concern.
            drop(Object::take(object));
        }
    }
}

impl fmt::Debug for PostgresTransactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresTransactions")
            .field("store", &self.store)
            .field("isolation", &self.isolation)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PostgresTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresTransaction")
            .finish_non_exhaustive()
    }
}
