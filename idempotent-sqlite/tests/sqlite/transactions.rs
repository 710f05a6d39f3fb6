//! The claim, the operation's own rows and the result in one transaction.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use idempotent_core::protocol::{Claim, ClaimRequest, Completion, Grant};
use idempotent_core::{
    CommitError, Engine, Error, Inspect, Key, Lent, OnConflict, Operation, Outcome, Provenance,
    RecordErrors, State, Step, StoreError, TransactionalStore,
};
use idempotent_sqlite::rusqlite::Connection;
use idempotent_sqlite::{SqliteStore, SqliteTransaction};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

type Tx = Lent<SqliteTransaction>;

const SCOPE: &str = "orders";

#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum Failure {
    #[error("declined")]
    Declined,
    #[error("{0}")]
    Idempotency(String),
    #[error("{0}")]
    Sqlite(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Idempotency(format!("{error:?}"))
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error.to_string())
    }
}

/// A file with a table of orders in it, and how often an order was about to be written.
pub(crate) struct Shop {
    pub(crate) store: SqliteStore,
    engine: Engine,
    runs: Arc<AtomicU32>,
    directory: TempDir,
}

impl Shop {
    pub(crate) fn new() -> Self {
        Self::with(|engine| engine)
    }

    pub(crate) fn with(
        set: impl FnOnce(idempotent_core::EngineBuilder) -> idempotent_core::EngineBuilder,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path().join("shop.db")).unwrap();
        let engine = set(Engine::builder(store.clone()).ttl(Duration::from_secs(3600))).build();
        let shop = Self {
            store,
            engine,
            runs: Arc::default(),
            directory,
        };
        shop.database()
            .execute_batch("CREATE TABLE orders (id TEXT PRIMARY KEY) STRICT")
            .unwrap();
        shop
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("shop.db")
    }

    pub(crate) fn database(&self) -> Connection {
        let database = Connection::open(self.path()).unwrap();
        database.busy_timeout(Duration::from_secs(5)).unwrap();
        database
    }

    pub(crate) fn orders(&self) -> u32 {
        let count = "SELECT count(*) FROM orders";
        self.database()
            .query_row(count, (), |row| row.get(0))
            .unwrap()
    }

    pub(crate) fn runs(&self) -> u32 {
        self.runs.load(Ordering::SeqCst)
    }

    pub(crate) fn operation(&self, key: &str) -> Operation {
        self.engine.operation(SCOPE).key(key)
    }

    pub(crate) fn write(&self, tx: &Connection, id: &str) -> Result<u32, Failure> {
        let run = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
        tx.execute("INSERT INTO orders VALUES (?1)", [id])?;
        Ok(run)
    }

    pub(crate) async fn create(&self, id: &str) -> Result<Outcome<u32>, Failure> {
        self.create_on(&self.store, id).await
    }

    async fn create_on<S>(&self, store: &S, id: &str) -> Result<Outcome<u32>, Failure>
    where
        S: TransactionalStore<Transaction = SqliteTransaction>,
    {
        let operation = self.operation(id);
        let body = |tx: Tx| async move { self.write(&tx, id).map(Outcome::new) };
        operation.run_in(store, body).await
    }

    pub(crate) async fn record(&self, id: &str) -> Option<State> {
        let key = Key::new(SCOPE, id).unwrap();
        let record = self.store.get(&key).await.unwrap();
        record.map(|record| record.state)
    }
}

#[tokio::test]
async fn the_row_and_the_record_are_there_together() {
    let shop = &Shop::new();
    let first = shop.create("1").await.unwrap();
    assert!(first.is_executed());
    let second = shop.create("1").await.unwrap();
    assert!(second.is_replayed());
    assert_eq!((*second.value(), shop.runs(), shop.orders()), (1, 1, 1));
    assert_eq!(shop.record("1").await, Some(State::Completed));
}

/// T2: one runs, and the others get its result.
#[tokio::test(flavor = "multi_thread")]
async fn of_64_concurrent_callers_one_runs() {
    let shop = Arc::new(Shop::new());
    let mut callers = JoinSet::new();
    for _ in 0..64 {
        let shop = Arc::clone(&shop);
        callers.spawn(async move { shop.create("1").await.unwrap() });
    }
    let outcomes = callers.join_all().await;
    assert_eq!(
        outcomes
            .iter()
            .filter(|outcome| outcome.is_executed())
            .count(),
        1
    );
    assert!(outcomes.iter().all(|outcome| *outcome.value() == 1));
    assert_eq!((shop.runs(), shop.orders()), (1, 1));
}

/// T5: the callers of one key wait for each other without the file, so that others get to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_many_want_holds_up_no_other() {
    let shop = Arc::new(Shop::new());
    let mut callers = JoinSet::new();
    for _ in 0..32 {
        let shop = Arc::clone(&shop);
        callers.spawn(async move {
            let shop = &*shop;
            let body = |_: Tx| async move {
                sleep(Duration::from_millis(20)).await;
                Err::<u32, _>(Failure::Declined)
            };
            shop.operation("hot").run_in(&shop.store, body).await
        });
    }
    let others = async {
        for id in 0..5 {
            shop.create(&id.to_string()).await.unwrap();
        }
    };
    timeout(Duration::from_millis(500), others)
        .await
        .expect("it need not wait for all of them");
    callers.abort_all();
}

/// T17.
#[tokio::test]
async fn an_error_rolls_everything_back_and_a_retry_runs() {
    let shop = &Shop::new();
    let declines = |tx: Tx| async move {
        shop.write(&tx, "1")?;
        Err::<u32, _>(Failure::Declined)
    };
    let answer = shop.operation("1").run_in(&shop.store, declines).await;
    assert!(matches!(answer, Err(Failure::Declined)));
    assert_eq!((shop.orders(), shop.record("1").await), (0, None));
    assert!(shop.create("1").await.unwrap().is_executed());
}

/// T18.
#[tokio::test]
async fn a_recorded_error_is_replayed_and_its_rows_are_gone() {
    let shop = &Shop::new();
    let operation = || -> Operation<RecordErrors<Failure>> { shop.operation("1").record_errors() };
    for _ in 0..2 {
        let declines = |tx: Tx| async move {
            shop.write(&tx, "1")?;
            Err::<u32, _>(Failure::Declined)
        };
        let answer = operation().run_in(&shop.store, declines).await;
        assert!(matches!(answer, Err(Failure::Declined)));
    }
    assert_eq!((shop.runs(), shop.orders()), (1, 0));
    assert_eq!(shop.record("1").await, Some(State::Failed));
}

#[tokio::test]
async fn a_panic_rolls_everything_back() {
    let shop = Arc::new(Shop::new());
    let other = Arc::clone(&shop);
    let panics = tokio::spawn(async move {
        let other = &*other;
        let body = |tx: Tx| async move {
            other.write(&tx, "1")?;
            panic!("as planned");
            #[expect(unreachable_code, reason = "it says what the body returns")]
            Ok::<u32, Failure>(1)
        };
        other.operation("1").run_in(&other.store, body).await
    });
    assert!(panics.await.unwrap_err().is_panic());
    assert_eq!((shop.orders(), shop.record("1").await), (0, None));
    assert!(shop.create("1").await.unwrap().is_executed());
}

/// T13.
#[tokio::test]
async fn a_dropped_call_is_rolled_back_before_the_next_one_begins() {
    let shop = &Shop::new();
    let stays = |tx: Tx| async move {
        shop.write(&tx, "1")?;
        sleep(Duration::from_secs(60)).await;
        Ok::<u32, Failure>(1)
    };
    let call = shop.operation("1").run_in(&shop.store, stays);
    assert!(timeout(Duration::from_millis(50), call).await.is_err());
    assert_eq!((shop.orders(), shop.record("1").await), (0, None));
    assert!(shop.create("1").await.unwrap().is_executed());
}

/// T19.
#[tokio::test]
async fn other_arguments_do_not_match() {
    let shop = &Shop::new();
    for (argument, answer) in [(1, Ok(1)), (2, Err(()))] {
        let operation = shop.operation("1").fingerprint(&argument);
        let body = |tx: Tx| async move { shop.write(&tx, "1") };
        let got = operation.run_in(&shop.store, body).await;
        assert_eq!(
            got.as_ref().map_err(drop),
            answer.as_ref().map_err(drop),
            "{got:?}"
        );
    }
    assert_eq!(shop.runs(), 1);
}

/// T20.
#[tokio::test]
async fn a_result_that_is_too_large_rolls_everything_back() {
    let shop = &Shop::with(|engine| engine.max_result(10));
    let body = |tx: Tx| async move {
        shop.write(&tx, "1")?;
        Ok::<_, Failure>("x".repeat(10))
    };
    let error = shop
        .operation("1")
        .run_in(&shop.store, body)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("the result has 12 bytes"),
        "{error}"
    );
    assert_eq!((shop.runs(), shop.orders()), (1, 0));
}

/// T21.
#[tokio::test]
async fn a_result_of_another_type_is_not_run_again() {
    let shop = &Shop::new();
    shop.create("1").await.unwrap();
    let body = |_: Tx| async move { Ok::<_, Failure>("text".to_owned()) };
    let error = shop
        .operation("1")
        .run_in(&shop.store, body)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("Incompatible"), "{error}");
}

/// T10, T44: an operation that ends the transaction has not committed its result with it.
#[tokio::test]
async fn an_operation_that_ends_the_transaction_itself_is_told_so() {
    for end in ["COMMIT", "ROLLBACK"] {
        let shop = &Shop::new();
        let body = |tx: Tx| async move {
            let run = shop.write(&tx, "1")?;
            tx.execute_batch(end)?;
            Ok::<u32, Failure>(run)
        };
        let error = shop
            .operation("1")
            .run_in(&shop.store, body)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("RolledBack"), "{error}");
        assert_ne!(shop.record("1").await, Some(State::Completed));
        assert_eq!(shop.runs(), 1, "it would be the same again");
    }
}

#[tokio::test]
async fn a_claim_of_the_other_mode_is_waited_for() {
    let shop = &Shop::with(|engine| engine.on_conflict(OnConflict::Fail));
    let lease = shop.operation("1");
    let holding = lease.run(async {
        let error = shop.create("1").await.unwrap_err();
        assert!(error.to_string().contains("InProgress"), "{error}");
        Ok::<u32, Failure>(7)
    });
    assert_eq!(holding.await.unwrap(), 7);
    assert_eq!(*shop.create("1").await.unwrap().value(), 7);
    assert_eq!(shop.runs(), 0);
}

#[tokio::test]
async fn an_engine_that_does_not_protect_still_commits() {
    let shop = &Shop::with(|engine| engine.enabled(false));
    let outcome = shop.create("1").await.unwrap();
    assert_eq!(outcome.provenance(), Provenance::Unprotected);
    assert_eq!((shop.orders(), shop.record("1").await), (1, None));
}

#[tokio::test]
async fn an_engine_that_only_watches_runs_again() {
    let shop = &Shop::with(idempotent_core::EngineBuilder::shadow);
    shop.create("1").await.unwrap();
    let body = |tx: Tx| async move { shop.write(&tx, "2") };
    assert_eq!(
        shop.operation("1").run_in(&shop.store, body).await.unwrap(),
        2
    );
    assert_eq!(shop.orders(), 2);
}

/// What becomes of a commit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Commit {
    /// It is done, and its answer is lost.
    Done,
    /// The connection is lost before it is done.
    Lost,
    /// The database gives it up, for now.
    Refused,
}

/// A store whose first commits end like this.
pub(crate) struct Flaky<'a> {
    store: &'a SqliteStore,
    commits: AtomicU32,
    commit: Commit,
}

impl<'a> Flaky<'a> {
    pub(crate) fn new(store: &'a SqliteStore, commits: u32, commit: Commit) -> Self {
        let commits = AtomicU32::new(commits);
        Self {
            store,
            commits,
            commit,
        }
    }
}

impl Flaky<'_> {
    async fn commit_by<F: Future<Output = Result<(), CommitError>>>(
        &self,
        transaction: SqliteTransaction,
        commit: impl FnOnce(SqliteTransaction) -> F,
    ) -> Result<(), CommitError> {
        let fails = |left: u32| left.checked_sub(1);
        let order = Ordering::SeqCst;
        let fails = self.commits.fetch_update(order, order, fails).is_ok();
        let error = || StoreError::Unavailable("as planned".into());
        if fails && self.commit != Commit::Done {
            drop(transaction);
            return Err(match self.commit {
                Commit::Refused => CommitError::RolledBack(error()),
                _ => CommitError::Unknown(error()),
            });
        }
        commit(transaction).await?;
        if fails {
            return Err(CommitError::Unknown(error()));
        }
        Ok(())
    }
}

impl TransactionalStore for Flaky<'_> {
    type Transaction = SqliteTransaction;

    fn name(&self) -> &'static str {
        "flaky"
    }

    async fn begin(&self) -> Result<SqliteTransaction, StoreError> {
        self.store.begin().await
    }

    async fn claim(
        &self,
        key: &Key,
        request: &ClaimRequest,
        patience: Duration,
    ) -> Result<(SqliteTransaction, Claim), StoreError> {
        TransactionalStore::claim(self.store, key, request, patience).await
    }

    async fn complete(
        &self,
        transaction: SqliteTransaction,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<(), CommitError> {
        let complete = TransactionalStore::complete;
        self.commit_by(transaction, |transaction| {
            complete(self.store, transaction, key, grant, completion)
        })
        .await
    }

    async fn finish(
        &self,
        transaction: SqliteTransaction,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<(), CommitError> {
        self.commit_by(transaction, |transaction| {
            self.store.finish(transaction, key, grant, completion)
        })
        .await
    }

    async fn record_step(
        &self,
        transaction: SqliteTransaction,
        key: &Key,
        grant: &Grant,
        step: &Step,
        lease: Duration,
    ) -> Result<(), CommitError> {
        let record_step = TransactionalStore::record_step;
        self.commit_by(transaction, |transaction| {
            record_step(self.store, transaction, key, grant, step, lease)
        })
        .await
    }

    async fn commit(&self, transaction: SqliteTransaction) -> Result<(), CommitError> {
        self.store.commit(transaction).await
    }

    async fn rollback(&self, transaction: SqliteTransaction) {
        self.store.rollback(transaction).await;
    }
}

/// T12.
#[tokio::test]
async fn a_commit_whose_answer_was_lost_counts_if_it_was_done() {
    let shop = &Shop::new();
    let flaky = Flaky::new(&shop.store, 1, Commit::Done);
    assert!(shop.create_on(&flaky, "1").await.unwrap().is_executed());
    assert_eq!((shop.runs(), shop.orders()), (1, 1));
}

/// T12, T14.
#[tokio::test]
async fn a_transaction_that_was_rolled_back_runs_again() {
    for commit in [Commit::Lost, Commit::Refused] {
        let shop = &Shop::new();
        let flaky = Flaky::new(&shop.store, 5, commit);
        assert!(shop.create_on(&flaky, "1").await.unwrap().is_executed());
        assert_eq!((shop.runs(), shop.orders()), (6, 1), "{commit:?}");
    }
}

/// T14.
#[tokio::test]
async fn it_does_not_run_again_for_ever() {
    let shop = &Shop::new();
    let flaky = Flaky::new(&shop.store, 100, Commit::Refused);
    let error = shop.create_on(&flaky, "1").await.unwrap_err();
    assert!(error.to_string().contains("RolledBack"), "{error}");
    assert_eq!((shop.runs(), shop.orders()), (6, 0));
}
