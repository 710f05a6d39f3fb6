//! The claim, the operation's own rows and the result in one transaction, with both drivers.

use std::future::Future;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use idempotent_core::protocol::{Claim, ClaimRequest, Completion, Grant, StepReply, Update};
use idempotent_core::{
    Engine, EngineBuilder, Error, Fingerprint, Inspect, Key, Lent, OnConflict, Operation, Outcome,
    Owner, Provenance, State, Step, Store, TransactionalStore,
};
use idempotent_postgres::deadpool_postgres::{Manager, Pool};
use idempotent_postgres::sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use idempotent_postgres::sqlx::{self, AssertSqlSafe, Executor, Postgres};
use idempotent_postgres::tokio_postgres::{self, Config, NoTls};
use idempotent_postgres::{
    Isolation, PostgresStore, PostgresTransaction, PostgresTransactions, SqlxTransactions,
};
use idempotent_testkit::server::{Cut, PgBouncer, PostgresServer, Proxy};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::common::{LEASE, TTL, World, granted, key, value};

const SCOPE: &str = "test";

/// As an operation without arguments asks.
fn request() -> ClaimRequest {
    let fingerprint = Fingerprint::from_bytes([0; 32]);
    ClaimRequest::new(Owner::random().unwrap(), fingerprint, LEASE, TTL)
}

async fn grant(store: &PostgresStore, key: &Key) -> Grant {
    granted(store.claim(key, &request()).await.unwrap())
}

#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum Failure {
    #[error("declined")]
    Declined,
    #[error("{0}")]
    Idempotency(String),
    /// What the server said, by its code.
    #[error("the server said {0}")]
    Server(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Idempotency(format!("{error:?}"))
    }
}

/// Deadlocks, and transactions that do not fit together.
fn is_given_up(error: &Failure) -> bool {
    matches!(error, Failure::Server(code) if code.starts_with("40"))
}

/// One of the two.
pub(crate) trait Driver: Send + Sync + 'static {
    type Transactions: TransactionalStore<Transaction = Self::Transaction> + Clone + 'static;
    type Transaction: Send + 'static;

    /// Whether the result and `COMMIT` are sent together.
    const PIPELINES: bool;

    fn open(
        store: &PostgresStore,
        url: &str,
        connections: u32,
        isolation: Isolation,
    ) -> Self::Transactions;

    fn run(
        tx: &mut Self::Transaction,
        sql: String,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

pub(crate) struct Deadpool;

impl Driver for Deadpool {
    const PIPELINES: bool = true;

    type Transaction = PostgresTransaction;
    type Transactions = PostgresTransactions;

    fn open(
        store: &PostgresStore,
        url: &str,
        connections: u32,
        isolation: Isolation,
    ) -> PostgresTransactions {
        let manager = Manager::new(Config::from_str(url).unwrap(), NoTls);
        let pool = Pool::builder(manager).max_size(connections as usize);
        store
            .transactions(pool.build().unwrap())
            .isolation(isolation)
    }

    async fn run(tx: &mut PostgresTransaction, sql: String) -> Result<(), Failure> {
        let done = tx.batch_execute(&sql).await;
        done.map_err(|error| {
            let code = error
                .code()
                .map_or("nothing", tokio_postgres::error::SqlState::code);
            Failure::Server(code.to_owned())
        })
    }
}

pub(crate) struct Sqlx;

impl Driver for Sqlx {
    const PIPELINES: bool = false;

    type Transaction = sqlx::Transaction<'static, Postgres>;
    type Transactions = SqlxTransactions;

    fn open(
        store: &PostgresStore,
        url: &str,
        connections: u32,
        isolation: Isolation,
    ) -> SqlxTransactions {
        let pool = PgPoolOptions::new().max_connections(connections);
        // A pooler's sessions keep no statements.
        let options = PgConnectOptions::from_str(url)
            .unwrap()
            .statement_cache_capacity(0)
            .extra_float_digits(None);
        store
            .sqlx_transactions(pool.connect_lazy_with(options))
            .isolation(isolation)
    }

    async fn run(tx: &mut Self::Transaction, sql: String) -> Result<(), Failure> {
        let done = (&mut **tx).execute(sqlx::raw_sql(AssertSqlSafe(sql))).await;
        done.map(drop).map_err(|error| {
            let code = error
                .as_database_error()
                .and_then(idempotent_postgres::sqlx::error::DatabaseError::code);
            Failure::Server(code.map_or_else(|| "nothing".to_owned(), std::borrow::Cow::into_owned))
        })
    }
}

/// A process with a pool of its own, and a table of orders that all of them share.
pub(crate) struct Shop<D: Driver> {
    pub(crate) world: Arc<World>,
    pub(crate) store: PostgresStore,
    engine: Engine,
    pub(crate) transactions: D::Transactions,
    runs: Arc<AtomicU32>,
    driver: PhantomData<D>,
}

impl<D: Driver> Shop<D> {
    pub(crate) async fn new() -> Self {
        Self::with(Isolation::default(), |engine| engine).await
    }

    pub(crate) async fn with(
        isolation: Isolation,
        set: impl FnOnce(EngineBuilder) -> EngineBuilder,
    ) -> Self {
        let world = Arc::new(World::on_any());
        let url = world.server.url().to_owned();
        let shop = Self::on(world, &url, isolation, set).await;
        shop.world
            .sql("CREATE TABLE orders (id text PRIMARY KEY)", &[])
            .await;
        shop
    }

    pub(crate) async fn on(
        world: Arc<World>,
        url: &str,
        isolation: Isolation,
        set: impl FnOnce(EngineBuilder) -> EngineBuilder,
    ) -> Self {
        let store = world.connect().await;
        let engine = set(Engine::builder(store.clone()).record_patience(Duration::from_secs(3)));
        Self {
            transactions: D::open(&store, url, 4, isolation),
            engine: engine.build(),
            world,
            store,
            runs: Arc::default(),
            driver: PhantomData,
        }
    }

    /// Another process.
    pub(crate) async fn other(&self, set: impl FnOnce(EngineBuilder) -> EngineBuilder) -> Self {
        let world = Arc::clone(&self.world);
        let url = world.server.url().to_owned();
        let mut other = Self::on(world, &url, Isolation::default(), set).await;
        other.runs = Arc::clone(&self.runs);
        other
    }

    pub(crate) fn operation(&self, key: &str) -> Operation {
        self.engine.operation(SCOPE).key(key)
    }

    pub(crate) async fn write(&self, tx: &mut D::Transaction, id: &str) -> Result<u32, Failure> {
        let run = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
        D::run(tx, self.insert(id)).await?;
        Ok(run)
    }

    pub(crate) fn insert(&self, id: &str) -> String {
        format!("INSERT INTO {}.orders VALUES ('{id}')", self.world.schema)
    }

    async fn create(&self, id: &str) -> Result<Outcome<u32>, Failure> {
        self.create_slowly(id, Duration::ZERO).await
    }

    async fn create_slowly(&self, id: &str, time: Duration) -> Result<Outcome<u32>, Failure> {
        let body = |mut tx: Lent<D::Transaction>| async move {
            let run = self.write(&mut tx, id).await?;
            sleep(time).await;
            Ok(Outcome::new(run))
        };
        self.operation(id).run_in(&self.transactions, body).await
    }

    pub(crate) async fn orders(&self) -> i64 {
        let rows = self.world.sql("SELECT count(*) FROM orders", &[]).await;
        rows[0].get(0)
    }

    pub(crate) fn runs(&self) -> u32 {
        self.runs.load(Ordering::SeqCst)
    }

    pub(crate) async fn record(&self, id: &str) -> Option<State> {
        let record = self.store.get(&Key::new(SCOPE, id).unwrap()).await.unwrap();
        record.map(|record| record.state)
    }
}

/// T1, from the first use of a connection on.
async fn the_row_and_the_record_are_there_together<D: Driver>() {
    let shop = Shop::<D>::new().await;
    assert!(shop.create("1").await.unwrap().is_executed());
    let same =
        "SELECT (SELECT xmin::text FROM orders) = (SELECT xmin::text FROM idempotency_record)";
    let same = shop.world.sql(same, &[]).await;
    assert!(
        same[0].get::<_, bool>(0),
        "the same transaction has written both"
    );
    let second = shop.create("1").await.unwrap();
    assert!(second.is_replayed());
    assert_eq!(
        (*second.value(), shop.runs(), shop.orders().await),
        (1, 1, 1)
    );
    assert_eq!(shop.record("1").await, Some(State::Completed));
}

/// T2: one runs, and the others, in this process and in another, get its result.
async fn of_64_concurrent_callers_one_runs<D: Driver>() {
    let shop = Arc::new(Shop::<D>::new().await);
    let other = Arc::new(shop.other(|engine| engine).await);
    let mut callers = JoinSet::new();
    for number in 0..64 {
        let shop = Arc::clone([&shop, &other][number % 2]);
        callers.spawn(async move { shop.create_slowly("1", Duration::from_millis(50)).await });
    }
    let answers = callers.join_all().await;
    let outcomes: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let executed = outcomes.iter().filter(|outcome| outcome.is_executed());
    assert_eq!(executed.count(), 1);
    assert!(outcomes.iter().all(|outcome| *outcome.value() == 1));
    assert_eq!((shop.runs(), shop.orders().await), (1, 1));
}

/// T5: a pool of 4 connections, and 64 callers of one key.
async fn a_key_that_many_want_holds_up_no_other<D: Driver>() {
    let shop = Arc::new(Shop::<D>::new().await);
    let mut callers = JoinSet::new();
    for _ in 0..64 {
        let shop = Arc::clone(&shop);
        callers.spawn(async move {
            let body = |_| async move {
                sleep(Duration::from_millis(100)).await;
                Err::<u32, _>(Failure::Declined)
            };
            shop.operation("hot").run_in(&shop.transactions, body).await
        });
    }
    sleep(Duration::from_millis(50)).await;
    let others = async {
        for id in 0..5 {
            shop.create(&id.to_string()).await.unwrap();
        }
    };
    let in_time = timeout(Duration::from_secs(3), others).await;
    in_time.expect("64 callers of the other key take more than 6 seconds");
    callers.abort_all();
}

/// T3, T4, T19: who waits is told after its patience, at once if it has none, and of other arguments too.
async fn a_caller_waits_for_another_transaction_as_long_as_it_likes<D: Driver>() {
    let shop = Shop::<D>::new().await;
    let patient = |limit| move |engine: EngineBuilder| engine.on_conflict(OnConflict::Wait(limit));
    let short = shop.other(patient(Duration::from_millis(300))).await;
    let none = shop
        .other(|engine| engine.on_conflict(OnConflict::Fail))
        .await;
    let long = shop.other(patient(Duration::from_secs(20))).await;
    let running = shop.create_slowly("1", Duration::from_millis(1_500));
    let others = async {
        sleep(Duration::from_millis(300)).await;
        for (other, least, most) in [(&none, 0, 250), (&short, 250, 900)] {
            let began = Instant::now();
            let error = other.create("1").await.unwrap_err();
            assert!(error.to_string().contains("InProgress"), "{error}");
            let waited = began.elapsed();
            let millis = |millis| Duration::from_millis(millis);
            assert!(
                waited >= millis(least) && waited < millis(most),
                "{waited:?}"
            );
        }
        long.create("1").await.unwrap()
    };
    let (first, last) = tokio::join!(running, others);
    assert!(first.unwrap().is_executed() && last.is_replayed());
    assert_eq!((shop.runs(), shop.orders().await), (1, 1));
}

/// T3: the operation's own statements wait for locks as long as they did before.
async fn the_timeout_for_locks_is_the_claims_alone<D: Driver>() {
    let shop = &Shop::<D>::new().await;
    let body = |mut tx: Lent<D::Transaction>| async move {
        let check = "DO $$ BEGIN ASSERT current_setting('lock_timeout') = '0'; END $$";
        D::run(&mut tx, check.to_owned()).await?;
        Ok::<u32, Failure>(1)
    };
    shop.operation("1")
        .run_in(&shop.transactions, body)
        .await
        .unwrap();
    let taken_over = grant(&shop.store, &key("2")).await;
    shop.world.lapse(&key("2")).await;
    assert_eq!(taken_over.attempt, 1);
    shop.operation("2")
        .run_in(&shop.transactions, body)
        .await
        .unwrap();
}

/// T17.
async fn an_error_rolls_everything_back_and_a_retry_runs<D: Driver>() {
    let shop = &Shop::<D>::new().await;
    let body = |mut tx: Lent<D::Transaction>| async move {
        shop.write(&mut tx, "1").await?;
        Err::<u32, _>(Failure::Declined)
    };
    let answer = shop.operation("1").run_in(&shop.transactions, body).await;
    assert!(matches!(answer, Err(Failure::Declined)), "{answer:?}");
    assert_eq!((shop.orders().await, shop.record("1").await), (0, None));
    assert!(shop.create("1").await.unwrap().is_executed());
}

/// T18.
async fn a_recorded_error_is_replayed_and_its_rows_are_gone<D: Driver>() {
    let shop = &Shop::<D>::new().await;
    let body = |mut tx: Lent<D::Transaction>| async move {
        shop.write(&mut tx, "1").await?;
        Err::<u32, _>(Failure::Declined)
    };
    for _ in 0..2 {
        let operation = shop.operation("1").record_errors();
        let answer = operation.run_in(&shop.transactions, body).await;
        assert!(matches!(answer, Err(Failure::Declined)), "{answer:?}");
    }
    assert_eq!((shop.runs(), shop.orders().await), (1, 0));
    assert_eq!(shop.record("1").await, Some(State::Failed));
}

/// T10, T11: the transaction is aborted, and `COMMIT` would be answered as if it were not.
async fn an_operation_that_swallows_an_error_is_told_so<D: Driver>() {
    let shop = &Shop::<D>::new().await;
    let body = |mut tx: Lent<D::Transaction>| async move {
        shop.write(&mut tx, "1").await?;
        _ = D::run(&mut tx, "SELECT 1 / 0".to_owned()).await;
        Ok::<u32, Failure>(1)
    };
    let error = shop
        .operation("1")
        .run_in(&shop.transactions, body)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("RolledBack"), "{error}");
    let unprotected = shop.engine.operation(SCOPE).key(None::<&str>);
    let error = unprotected
        .run_in(&shop.transactions, body)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("RolledBack"), "{error}");
    assert_eq!((shop.orders().await, shop.record("1").await), (0, None));
    assert!(shop.create("1").await.unwrap().is_executed());
}

/// T10.
async fn an_operation_that_ends_the_transaction_itself_is_told_so<D: Driver>() {
    for end in ["COMMIT", "ROLLBACK"] {
        let shop = &Shop::<D>::new().await;
        let body = |mut tx: Lent<D::Transaction>| async move {
            let run = shop.write(&mut tx, "1").await?;
            D::run(&mut tx, end.to_owned()).await?;
            Ok::<u32, Failure>(run)
        };
        let answer = shop.operation("1").run_in(&shop.transactions, body).await;
        // After its own `COMMIT`, the result is recorded all the same, by a statement of its own.
        if end == "ROLLBACK" {
            let error = answer.unwrap_err();
            assert!(error.to_string().contains("RolledBack"), "{error}");
            assert_eq!((shop.orders().await, shop.record("1").await), (0, None));
        } else {
            assert_eq!((answer.unwrap(), shop.orders().await), (1, 1));
        }
    }
}

/// T13: even in the middle of a statement.
async fn a_dropped_call_is_rolled_back_before_its_connection_is_used_again<D: Driver>() {
    let shop = &Shop::<D>::new().await;
    let body = |mut tx: Lent<D::Transaction>| async move {
        shop.write(&mut tx, "1").await?;
        D::run(&mut tx, "SELECT pg_sleep(0.5)".to_owned()).await?;
        Ok::<u32, Failure>(1)
    };
    for _ in 0..5 {
        let call = shop.operation("1").run_in(&shop.transactions, body);
        assert!(timeout(Duration::from_millis(100), call).await.is_err());
    }
    assert!(shop.create("1").await.unwrap().is_executed());
    assert_eq!(shop.orders().await, 1);
}

/// T8: whoever waits is the owner at once.
async fn a_backend_that_is_killed_hands_its_claim_on<D: Driver>() {
    let shop = &Shop::<D>::new().await;
    let other = shop.other(|engine| engine).await;
    let body = |mut tx: Lent<D::Transaction>| async move {
        shop.write(&mut tx, "1").await?;
        sleep(Duration::from_millis(300)).await;
        D::run(
            &mut tx,
            "SELECT pg_terminate_backend(pg_backend_pid())".to_owned(),
        )
        .await?;
        Ok::<u32, Failure>(1)
    };
    let killed = shop.operation("1").run_in(&shop.transactions, body);
    let waits = async {
        sleep(Duration::from_millis(100)).await;
        other.create("1").await
    };
    let (killed, waited) = tokio::join!(killed, waits);
    assert!(killed.is_err());
    assert!(waited.unwrap().is_executed());
    assert_eq!(shop.orders().await, 1);
}

/// T12: the answer to a commit is lost after it was done, or before.
async fn a_commit_whose_answer_was_lost_is_found_out<D: Driver>() {
    for (cut, runs) in [
        (Cut::Reply { after: 0 }, if D::PIPELINES { 1 } else { 2 }),
        (Cut::Request { after: 0 }, 2),
    ] {
        let server = PostgresServer::builder().tcp().start().unwrap();
        let world = Arc::new(World::on(server));
        let proxy = Proxy::start(world.server.endpoint().unwrap())
            .await
            .unwrap();
        let url = world.server.url().to_owned();
        let url = through(&url, &proxy);
        let shop = &Shop::<D>::on(world, &url, Isolation::default(), |engine| engine).await;
        shop.world
            .sql("CREATE TABLE orders (id text PRIMARY KEY)", &[])
            .await;
        // Once, so that all is prepared.
        shop.create("0").await.unwrap();
        let proxy = &proxy;
        let body = |mut tx: Lent<D::Transaction>| async move {
            let run = shop.write(&mut tx, "1").await?;
            if run == 2 {
                cut_with_all_that_was_sent(proxy, cut);
            }
            Ok::<_, Failure>(Outcome::new(run))
        };
        let outcome = shop
            .operation("1")
            .run_in(&shop.transactions, body)
            .await
            .unwrap();
        assert!(outcome.is_executed() && proxy.has_cut());
        assert_eq!((shop.orders().await, shop.runs()), (2, 1 + runs), "{cut:?}");
        assert!(shop.create("1").await.unwrap().is_replayed());
    }
}

/// Cuts, and not before the server has got what the driver sends without waiting for a reply.
pub(crate) fn cut_with_all_that_was_sent(proxy: &Proxy, cut: Cut) {
    proxy.delay_replies(Duration::from_millis(100));
    proxy.cut(cut);
}

/// The URL of a server behind a proxy.
pub(crate) fn through(url: &str, proxy: &Proxy) -> String {
    let config = Config::from_str(url).unwrap();
    let (user, database) = (config.get_user().unwrap(), config.get_dbname().unwrap());
    format!(
        "postgres://{user}@{}/{database}?sslmode=disable",
        proxy.address()
    )
}

/// T14, T15: each reads what the other writes, so that only one can be committed as it is.
async fn a_transaction_that_does_not_fit_runs_again<D: Driver>() {
    let shop = Arc::new(Shop::<D>::with(Isolation::Serializable, |engine| engine).await);
    let mut callers = JoinSet::new();
    for id in ["a", "b", "c", "d"] {
        let shop = Arc::clone(&shop);
        callers.spawn(async move {
            let shop = &*shop;
            let body = |mut tx: Lent<D::Transaction>| async move {
                let count = format!("SELECT count(*) FROM {}.orders", shop.world.schema);
                D::run(&mut tx, count).await?;
                sleep(Duration::from_millis(50)).await;
                shop.write(&mut tx, id).await
            };
            shop.operation(id)
                .rerun_if(is_given_up)
                .run_in(&shop.transactions, body)
                .await
        });
    }
    for answer in callers.join_all().await {
        answer.unwrap();
    }
    assert_eq!(shop.orders().await, 4);
    assert!(shop.runs() > 4, "too tame");
}

/// T16: it is not about the key of the claim.
async fn a_row_that_is_there_already_is_the_operations_own_error<D: Driver>() {
    let shop = Shop::<D>::new().await;
    shop.create("1").await.unwrap();
    let body = |mut tx: Lent<D::Transaction>| {
        let shop = &shop;
        async move { shop.write(&mut tx, "1").await }
    };
    let answer = shop.operation("2").run_in(&shop.transactions, body).await;
    assert!(
        matches!(&answer, Err(Failure::Server(code)) if code == "23505"),
        "{answer:?}"
    );
}

/// T20.
async fn a_result_that_is_too_large_rolls_everything_back<D: Driver>() {
    let shop = &Shop::<D>::with(Isolation::default(), |engine| engine.max_result(10)).await;
    let body = |mut tx: Lent<D::Transaction>| async move {
        shop.write(&mut tx, "1").await?;
        Ok::<_, Failure>("x".repeat(10))
    };
    let error = shop
        .operation("1")
        .run_in(&shop.transactions, body)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("the result has 12 bytes"),
        "{error}"
    );
    assert_eq!((shop.runs(), shop.orders().await), (1, 0));
}

/// T8, T28: an attempt of the other mode that fell silent, and a record that has expired.
async fn what_is_over_is_taken_over<D: Driver>() {
    let shop = Shop::<D>::new().await;
    let silent = grant(&shop.store, &key("1")).await;
    let step = Step {
        name: "charge".to_owned(),
        value: vec![1].into(),
    };
    let lease = Duration::from_secs(30);
    let recorded = shop
        .store
        .record_step(&key("1"), &silent, &step, lease)
        .await;
    assert_eq!(recorded.unwrap(), StepReply::Recorded);
    shop.world.lapse(&key("1")).await;
    let outcome = shop.create("1").await.unwrap();
    assert!(matches!(
        outcome.provenance(),
        Provenance::Executed { attempt: 2, .. }
    ));
    assert!(shop.create("1").await.unwrap().is_replayed());
    let late = shop
        .store
        .complete(&key("1"), &silent, &value("late"))
        .await
        .unwrap();
    assert!(matches!(late, Update::Lost(Some(_))), "{late:?}");

    let short = grant(&shop.store, &key("2")).await;
    let mut gone: Completion = value("gone");
    gone.ttl = Duration::from_millis(1);
    shop.store.complete(&key("2"), &short, &gone).await.unwrap();
    sleep(Duration::from_millis(50)).await;
    assert!(shop.create("2").await.unwrap().is_executed());
    let steps = shop
        .world
        .sql("SELECT count(*) FROM idempotency_record_step", &[])
        .await;
    assert_eq!(steps[0].get::<_, i64>(0), 0);
}

/// A claim of the other mode is waited for.
async fn an_attempt_of_the_other_mode_is_waited_for<D: Driver>() {
    let shop = Shop::<D>::with(Isolation::default(), |engine| {
        engine.on_conflict(OnConflict::Fail)
    })
    .await;
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

/// T22.
async fn transactions_work_behind_a_pooler<D: Driver>() {
    let world = Arc::new(World::on(PostgresServer::start().unwrap()));
    let pooler = PgBouncer::start(&world.server).unwrap();
    let options = world.options().behind_pooler(true);
    let store = options.connect(&pooler.url()).await.unwrap();
    world
        .sql("CREATE TABLE orders (id text PRIMARY KEY)", &[])
        .await;
    let shop = Arc::new(Shop::<D> {
        transactions: D::open(&store, &pooler.url(), 8, Isolation::default()),
        engine: Engine::new(store.clone()),
        world,
        store,
        runs: Arc::default(),
        driver: PhantomData,
    });
    let mut callers = JoinSet::new();
    for number in 0..40 {
        let shop = Arc::clone(&shop);
        callers.spawn(async move { shop.create(&(number % 20).to_string()).await.unwrap() });
    }
    callers.join_all().await;
    assert_eq!((shop.runs(), shop.orders().await), (20, 20));
}

macro_rules! with_both_drivers {
    ($($case:ident),* $(,)?) => {
        mod deadpool {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case::<$crate::transactions::Deadpool>().await;
            })*
        }

        mod sqlx_pool {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case::<$crate::transactions::Sqlx>().await;
            })*
        }
    };
}

pub(crate) use with_both_drivers;

with_both_drivers! {
    the_row_and_the_record_are_there_together,
    of_64_concurrent_callers_one_runs,
    a_key_that_many_want_holds_up_no_other,
    a_caller_waits_for_another_transaction_as_long_as_it_likes,
    the_timeout_for_locks_is_the_claims_alone,
    an_error_rolls_everything_back_and_a_retry_runs,
    a_recorded_error_is_replayed_and_its_rows_are_gone,
    an_operation_that_swallows_an_error_is_told_so,
    an_operation_that_ends_the_transaction_itself_is_told_so,
    a_dropped_call_is_rolled_back_before_its_connection_is_used_again,
    a_backend_that_is_killed_hands_its_claim_on,
    a_commit_whose_answer_was_lost_is_found_out,
    a_transaction_that_does_not_fit_runs_again,
    a_row_that_is_there_already_is_the_operations_own_error,
    a_result_that_is_too_large_rolls_everything_back,
    what_is_over_is_taken_over,
    an_attempt_of_the_other_mode_is_waited_for,
    transactions_work_behind_a_pooler,
}

/// T27: the record lives or dies with the caller's transaction.
#[tokio::test]
async fn a_callers_own_transaction_takes_the_record_with_it() {
    let shop = &Shop::<Deadpool>::new().await;
    let mut client = shop.world.client().await;
    for (commits, orders, record) in [(false, 0, None), (true, 1, Some(State::Completed))] {
        let mut outer = client.transaction().await.unwrap();
        let operation = shop.operation("1");
        let ran = operation.run_within(&shop.store, &mut outer, |tx, _| async move {
            tx.batch_execute(&shop.insert("1")).await.unwrap();
            Ok::<u32, Failure>(7)
        });
        assert_eq!(ran.await.unwrap(), 7);
        assert_eq!(shop.record("1").await, None, "nobody sees it before");
        if commits {
            outer.commit().await.unwrap();
        } else {
            outer.rollback().await.unwrap();
        }
        assert_eq!(
            (shop.orders().await, shop.record("1").await),
            (orders, record)
        );
    }
    let mut outer = client.transaction().await.unwrap();
    let operation = shop.operation("1");
    let replayed =
        operation.run_within(&shop.store, &mut outer, async |_, _| Ok::<u32, Failure>(99));
    assert_eq!(replayed.await.unwrap(), 7);
}

/// T18, T27: a failed statement is undone too, and the caller's transaction goes on.
#[tokio::test]
async fn an_error_undoes_the_operation_and_leaves_the_callers_transaction_as_it_was() {
    let shop = &Shop::<Sqlx>::new().await;
    let pool = PgPoolOptions::new()
        .connect(shop.world.server.url())
        .await
        .unwrap();
    let mut outer = pool.begin().await.unwrap();
    Sqlx::run(&mut outer, shop.insert("before")).await.unwrap();
    for (key, records) in [("1", false), ("2", true)] {
        let fails = async |mut tx: Lent<&mut sqlx::PgConnection>, _| {
            let twice = sqlx::raw_sql(AssertSqlSafe(shop.insert("before")));
            let error = (&mut **tx).execute(twice).await.unwrap_err();
            assert!(error.to_string().contains("duplicate"), "{error}");
            Err::<u32, _>(Failure::Declined)
        };
        let operation = shop.operation(key);
        let answer = if records {
            let operation = operation.record_errors();
            operation.run_within(&shop.store, &mut *outer, fails).await
        } else {
            operation.run_within(&shop.store, &mut *outer, fails).await
        };
        assert!(matches!(answer, Err(Failure::Declined)), "{answer:?}");
    }
    Sqlx::run(&mut outer, shop.insert("after")).await.unwrap();
    outer.commit().await.unwrap();
    assert_eq!(shop.orders().await, 2);
    assert_eq!(shop.record("1").await, None);
    assert_eq!(shop.record("2").await, Some(State::Failed));
}

/// T9 is for those who claim several keys; here, one waits in vain and the transaction is as good as new.
#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_was_too_long_leaves_the_callers_transaction_as_it_was() {
    let shop = &Shop::<Deadpool>::new().await;
    let other = shop
        .other(|engine| engine.on_conflict(OnConflict::Fail))
        .await;
    let mut client = shop.world.client().await;
    let holding = shop.create_slowly("1", Duration::from_millis(500));
    let waiting = async {
        sleep(Duration::from_millis(200)).await;
        let mut outer = client.transaction().await.unwrap();
        let operation = other.operation("1");
        let busy = operation.run_within(&other.store, &mut outer, async |_, _| {
            Ok::<u32, Failure>(99)
        });
        let error = busy.await.unwrap_err();
        assert!(error.to_string().contains("InProgress"), "{error}");
        outer.batch_execute(&shop.insert("other")).await.unwrap();
        outer.commit().await.unwrap();
    };
    let (held, ()) = tokio::join!(holding, waiting);
    held.unwrap();
    assert_eq!(shop.orders().await, 2);
}

/// A claim that is granted in a transaction is as good as one of the other mode.
#[tokio::test]
async fn a_claim_in_a_transaction_is_a_claim() {
    let shop = Shop::<Deadpool>::new().await;
    let patience = Duration::from_secs(1);
    let (key, request) = (key("1"), request());
    let claimed = TransactionalStore::claim(&shop.transactions, &key, &request, patience);
    let (transaction, claim) = claimed.await.unwrap();
    assert!(matches!(claim, Claim::Granted(grant) if grant.attempt == 1));
    shop.transactions.rollback(transaction).await;
    assert_eq!(shop.record("1").await, None);
}
