//! Transactions that hold the claim, the operation's own rows, and the result.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use idempotent_core::protocol::{
    self, Claim, ClaimRequest, Completion, Grant, Operation, Reply, StepReply, Update,
};
use idempotent_core::{CommitError, Key, RecordsIn, Step, StoreError, TransactionalStore};
use rusqlite::Connection;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

use crate::error::Error;
use crate::options::{Durability, LOCK_PAUSE, connect, patiently};
use crate::rows::{Rows, Table};
use crate::store::SqliteStore;

/// How long a caller waits for the transactions of others in this process.
const TURN: Duration = Duration::from_secs(30);

/// What it takes to open a transaction.
#[derive(Clone, Debug)]
pub(crate) struct Transactions {
    path: PathBuf,
    durability: Durability,
    table: Table,
    /// One connection: the file lets one write at a time, and SQLite's own waiting is unfair.
    turn: Arc<Mutex<Option<Connection>>>,
}

/// An open transaction of a [`SqliteStore`], and the connection that it is on.
///
/// It writes from its beginning on, so nobody else writes to the file until it ends: keep it short.
/// Leave its end to whoever opened it; `COMMIT` in an operation is an error of that operation.
///
/// Its statements block the thread that runs them, for as long as SQLite takes to change what it has in
/// memory. The file is locked, and the disk flushed, on a thread that may block.
///
/// # Drop
///
/// Rolls back.
pub struct SqliteTransaction {
    turn: OwnedMutexGuard<Option<Connection>>,
}

/// Why there is no connection in a transaction: nobody takes it out.
const THERE: &str = "a transaction has its connection";

impl Transactions {
    pub(crate) fn new(path: PathBuf, durability: Durability, table: Table) -> Self {
        let turn = Arc::default();
        Self {
            path,
            durability,
            table,
            turn,
        }
    }

    async fn begin(&self) -> Result<SqliteTransaction, Error> {
        let turn = timeout(TURN, Arc::clone(&self.turn).lock_owned());
        let mut turn = turn.await.map_err(|_| Error::NoTurn)?;
        let Self {
            path, durability, ..
        } = self.clone();
        on_blocking_thread(move || {
            if turn.is_none() {
                let connection = connect(&path, durability)?;
                connection.busy_timeout(LOCK_PAUSE)?;
                *turn = Some(connection);
            }
            let transaction = SqliteTransaction { turn };
            patiently(|| transaction.execute_batch("BEGIN IMMEDIATE"))?;
            Ok(transaction)
        })
        .await
    }

    async fn claim(
        &self,
        key: &Key,
        request: &ClaimRequest,
    ) -> Result<(SqliteTransaction, Claim), Error> {
        let transaction = self.begin().await?;
        let claim = self.claim_in(&transaction, key, request)?;
        Ok((transaction, claim))
    }

    fn claim_in(
        &self,
        connection: &Connection,
        key: &Key,
        request: &ClaimRequest,
    ) -> Result<Claim, Error> {
        match self.apply_in(connection, key, &Operation::Claim(request.clone()))? {
            Reply::Claim(claim) => Ok(claim),
            _ => Err(Error::OtherReply),
        }
    }

    fn complete_in(
        &self,
        connection: &Connection,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<Update, Error> {
        let (grant, completion) = (grant.clone(), completion.clone());
        match self.apply_in(connection, key, &Operation::Complete { grant, completion })? {
            Reply::Update(update) => Ok(update),
            _ => Err(Error::OtherReply),
        }
    }

    fn apply_in(
        &self,
        connection: &Connection,
        key: &Key,
        operation: &Operation,
    ) -> Result<Reply, Error> {
        let mut rows = Rows::new(connection, &self.table);
        let reply = rows.update(key, |slot, now| protocol::apply(slot, operation, now))?;
        rows.purge_in_passing()?;
        Ok(reply)
    }
}

async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work);
    done.await.map_err(|_| Error::ThreadEnded)?
}

impl SqliteTransaction {
    async fn commit(self) -> Result<(), CommitError> {
        // A full disk or a failed write can end a transaction behind our back, as can a `COMMIT` of the
        // operation's own.
        if self.is_autocommit() {
            return Err(CommitError::RolledBack(Error::Ended.into()));
        }
        let committed = on_blocking_thread(move || Ok(self.execute_batch("COMMIT")?)).await;
        committed.map_err(|error| {
            let is_known = !error.is_uncertain();
            let source = error.into();
            if is_known {
                CommitError::RolledBack(source)
            } else {
                CommitError::Unknown(source)
            }
        })
    }
}

impl Deref for SqliteTransaction {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.turn.as_ref().expect(THERE)
    }
}

/// For savepoints, which need it.
impl DerefMut for SqliteTransaction {
    fn deref_mut(&mut self) -> &mut Connection {
        self.turn.as_mut().expect(THERE)
    }
}

impl Drop for SqliteTransaction {
    fn drop(&mut self) {
        if !self.is_autocommit() && self.execute_batch("ROLLBACK").is_err() {
            // Closing it has the same effect.
            *self.turn = None;
        }
    }
}

impl fmt::Debug for SqliteTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteTransaction").finish_non_exhaustive()
    }
}

/// The claim, the operation's own rows in the same file, and the result in one transaction. Nobody
/// else writes to the file meanwhile, so there is never anybody to wait for.
///
/// # Examples
///
/// ```
/// use idempotent_core::{Engine, Error};
/// use idempotent_sqlite::SqliteStore;
///
/// #[derive(Debug, thiserror::Error)]
/// enum Failure {
///     #[error(transparent)]
///     Idempotency(#[from] Error),
///     #[error(transparent)]
///     Sqlite(#[from] rusqlite::Error),
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("shop.db");
/// let store = SqliteStore::open(&path)?;
/// let database = rusqlite::Connection::open(&path)?;
/// database.execute_batch("CREATE TABLE orders (id TEXT PRIMARY KEY)")?;
///
/// let engine = Engine::new(store.clone());
/// for _ in 0..2 {
///     let operation = engine.operation("orders.create").key("order-17");
///     let order = operation.run_in(&store, |tx| async move {
///         tx.execute("INSERT INTO orders VALUES (?1)", ["order-17"])?;
///         Ok::<_, Failure>("created".to_owned())
///     });
///     assert_eq!(order.await?, "created"); // the row and the record are there together
/// }
/// let orders: i64 = database.query_row("SELECT count(*) FROM orders", (), |row| row.get(0))?;
/// assert_eq!(orders, 1);
/// # Ok(())
/// # }
/// ```
impl TransactionalStore for SqliteStore {
    type Transaction = SqliteTransaction;

    fn name(&self) -> &'static str {
        "sqlite"
    }

    async fn begin(&self) -> Result<SqliteTransaction, StoreError> {
        Ok(self.transactions.begin().await?)
    }

    async fn claim(
        &self,
        key: &Key,
        request: &ClaimRequest,
        _: Duration,
    ) -> Result<(SqliteTransaction, Claim), StoreError> {
        Ok(self.transactions.claim(key, request).await?)
    }

    async fn complete(
        &self,
        transaction: SqliteTransaction,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<(), CommitError> {
        expect_open(&transaction).map_err(CommitError::RolledBack)?;
        let completed = self
            .transactions
            .complete_in(&transaction, key, grant, completion);
        match completed {
            Ok(Update::Applied | Update::Healed | Update::Repeated) => transaction.commit().await,
            // The claim has gone with the transaction that it was made in.
            Ok(_) => Err(CommitError::RolledBack(Error::Ended.into())),
            Err(error) => Err(CommitError::RolledBack(error.into())),
        }
    }

    async fn finish(
        &self,
        transaction: SqliteTransaction,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<(), CommitError> {
        TransactionalStore::complete(self, transaction, key, grant, completion).await?;
        self.watchers.notify(key);
        Ok(())
    }

    async fn record_step(
        &self,
        transaction: SqliteTransaction,
        key: &Key,
        grant: &Grant,
        step: &Step,
        lease: Duration,
    ) -> Result<(), CommitError> {
        expect_open(&transaction).map_err(CommitError::RolledBack)?;
        let (grant, step) = (grant.clone(), step.clone());
        let operation = Operation::RecordStep { grant, step, lease };
        match self.transactions.apply_in(&transaction, key, &operation) {
            Ok(Reply::Step(StepReply::Recorded)) => transaction.commit().await,
            Ok(_) => Err(CommitError::RolledBack(Error::Ended.into())),
            Err(error) => Err(CommitError::RolledBack(error.into())),
        }
    }

    async fn commit(&self, transaction: SqliteTransaction) -> Result<(), CommitError> {
        transaction.commit().await
    }

    async fn rollback(&self, transaction: SqliteTransaction) {
        drop(transaction);
    }
}

/// Records in a transaction that the application has opened, on a connection of its own to the same
/// file: with `BEGIN IMMEDIATE`, since one that has only read cannot become a writing one once
/// another has written.
impl RecordsIn<Connection> for SqliteStore {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    async fn claim(
        &self,
        connection: &mut Connection,
        key: &Key,
        request: &ClaimRequest,
        _: Duration,
    ) -> Result<Claim, StoreError> {
        Ok(self.transactions.claim_in(connection, key, request)?)
    }

    async fn complete(
        &self,
        connection: &mut Connection,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<Update, StoreError> {
        expect_open(connection)?;
        Ok(self
            .transactions
            .complete_in(connection, key, grant, completion)?)
    }

    async fn savepoint(&self, connection: &mut Connection) -> Result<(), StoreError> {
        expect_open(connection)?;
        execute(connection, "SAVEPOINT idempotency")
    }

    async fn release(&self, connection: &mut Connection) -> Result<(), StoreError> {
        execute(connection, "RELEASE idempotency")
    }

    async fn undo(&self, connection: &mut Connection) -> Result<(), StoreError> {
        execute(connection, "ROLLBACK TO idempotency; RELEASE idempotency")
    }
}

/// Without a transaction, each statement would be one.
fn expect_open(connection: &Connection) -> Result<(), StoreError> {
    if connection.is_autocommit() {
        return Err(Error::Ended.into());
    }
    Ok(())
}

fn execute(connection: &Connection, sql: &str) -> Result<(), StoreError> {
    Ok(connection.execute_batch(sql).map_err(Error::from)?)
}
