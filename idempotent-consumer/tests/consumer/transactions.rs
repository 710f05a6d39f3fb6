//! The record and what the handler writes are one commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use idempotent_consumer::{
    Capabilities, Consumer, Context, Delivery, HandlerError, Message, Mode, Outcome, Reason,
    Settle, SettleError, TestBroker, Worker,
};
use idempotent_core::protocol::{Claim, ClaimRequest, Completion, Grant};
use idempotent_core::{
    CommitError, Engine, Inspect, Key, Lent, State, Step, StoreError, TransactionalStore,
};
use idempotent_sqlite::{SqliteStore, SqliteTransaction};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::world::{SCOPE, dead, is_acked, message, retried};

type Tx = Lent<SqliteTransaction>;

/// A file with a table of orders in it, beside the records.
struct Shop {
    broker: TestBroker,
    consumer: Consumer,
    engine: Engine,
    folder: TempDir,
    store: SqliteStore,
}

impl Shop {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("shop.db")).unwrap();
        let engine = Engine::new(store.clone());
        let consumer = Consumer::builder(engine.clone(), SCOPE).max_attempts(3);
        let shop = Self {
            broker: TestBroker::new(),
            consumer: consumer.build().unwrap(),
            engine,
            folder,
            store,
        };
        let create = "CREATE TABLE orders (id TEXT NOT NULL) STRICT";
        shop.database().execute_batch(create).unwrap();
        shop
    }

    fn database(&self) -> Connection {
        let database = Connection::open(self.folder.path().join("shop.db")).unwrap();
        database.busy_timeout(Duration::from_secs(5)).unwrap();
        database
    }

    fn orders(&self) -> u32 {
        let count = "SELECT count(*) FROM orders";
        self.database()
            .query_row(count, (), |row| row.get(0))
            .unwrap()
    }

    async fn record(&self, id: &str) -> Option<(State, u32)> {
        let record = self.store.get(&Key::new(SCOPE, id).unwrap()).await.unwrap();
        record.map(|record| (record.state, record.failures))
    }

    /// A worker that writes an order, and then goes on as `then` says.
    fn ordering<F>(
        &self,
        then: impl Fn(Context) -> F + Send + Sync + 'static,
    ) -> Worker<impl Mode<Value = u32>>
    where
        F: Future<Output = Result<u32, HandlerError>> + Send + 'static,
    {
        let write = move |tx: Tx, message: Message, context| {
            let id = message.id.unwrap();
            let written = tx.execute("INSERT INTO orders VALUES (?1)", [id.as_str()]);
            drop(tx);
            let then = then(context);
            async move {
                written?;
                then.await
            }
        };
        self.consumer.transactional(self.store.clone(), write)
    }

    fn succeeding(&self) -> Worker<impl Mode<Value = u32>> {
        self.ordering(|_| async { Ok(7) })
    }

    fn delivery(id: &str) -> Delivery<Unsettled> {
        Delivery::new(message(id), Unsettled)
    }
}

/// A delivery of a broker that nobody tells anything.
struct Unsettled;

impl Settle for Unsettled {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn attempts_hint(&self) -> Option<u32> {
        None
    }

    async fn ack(self) -> Result<(), SettleError> {
        Ok(())
    }

    async fn retry(self, _: Duration, _: bool) -> Result<(), SettleError> {
        Ok(())
    }

    async fn dead_letter(self, _: &Reason) -> Result<(), SettleError> {
        Ok(())
    }

    async fn extend(&self, _: Duration) -> Result<(), SettleError> {
        Ok(())
    }
}

/// M8, M11, M12.
#[tokio::test]
async fn a_message_and_its_order_are_written_once() {
    let shop = Shop::new();
    let worker = shop.succeeding();
    let first = worker.process(&Shop::delivery("1")).await;
    assert!(matches!(first.outcome, Outcome::Executed(7)) && is_acked(&first));
    let again = worker.process(&Shop::delivery("1")).await;
    assert!(matches!(again.outcome, Outcome::Duplicate(Some(7))) && is_acked(&again));
    assert_eq!(shop.orders(), 1);
    assert_eq!(shop.record("1").await, Some((State::Completed, 0)));
}

/// M8: before the commit, nothing has happened; after it, everything has.
#[tokio::test]
async fn a_consumer_that_dies_before_the_commit_leaves_nothing() {
    let shop = Shop::new();
    let hanging = shop.ordering(|_| std::future::pending());
    let delivery = Shop::delivery("1");
    let dead = tokio::time::timeout(Duration::from_millis(50), hanging.process(&delivery)).await;
    assert!(dead.is_err());
    assert_eq!((shop.orders(), shop.record("1").await), (0, None));
    assert!(is_acked(&shop.succeeding().process(&delivery).await));
    assert_eq!(shop.orders(), 1);
}

/// M9: the broker hears of it when others can see it.
#[tokio::test]
async fn nothing_is_acknowledged_before_the_commit() {
    struct Looks(Arc<Shop>, Arc<AtomicU32>);

    impl Settle for Looks {
        fn capabilities(&self) -> Capabilities {
            Capabilities::default()
        }

        fn attempts_hint(&self) -> Option<u32> {
            None
        }

        async fn ack(self) -> Result<(), SettleError> {
            self.1.store(self.0.orders(), Ordering::SeqCst);
            Ok(())
        }

        async fn retry(self, _: Duration, _: bool) -> Result<(), SettleError> {
            unreachable!("nothing fails")
        }

        async fn dead_letter(self, _: &Reason) -> Result<(), SettleError> {
            unreachable!("nothing fails")
        }

        async fn extend(&self, _: Duration) -> Result<(), SettleError> {
            Ok(())
        }
    }

    let (shop, seen) = (Arc::new(Shop::new()), Arc::default());
    let looks = Looks(Arc::clone(&shop), Arc::clone(&seen));
    shop.succeeding()
        .handle(Delivery::new(message("1"), looks))
        .await;
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

/// M16, M18: the transaction is gone, and the failure is counted all the same.
#[tokio::test]
async fn a_failure_that_was_rolled_back_is_counted() {
    let shop = Shop::new();
    let failing = shop.ordering(|_| async { Err(HandlerError::retryable("no")) });
    let delivery = Shop::delivery("1");
    for failures in 1..3 {
        assert!(retried(&failing.process(&delivery).await).1);
        assert_eq!(shop.record("1").await, Some((State::Released, failures)));
    }
    let last = failing.process(&delivery).await;
    assert!(matches!(
        last.outcome,
        Outcome::Exhausted { error: Some(_), .. }
    ));
    assert_eq!(dead(&last), "exhausted");
    assert_eq!(shop.record("1").await, Some((State::Released, 0)));
    assert_eq!(shop.orders(), 0);
    assert!(is_acked(&shop.succeeding().process(&delivery).await));
}

/// M19.
#[tokio::test]
async fn a_panic_rolls_back_and_is_counted() {
    let shop = Shop::new();
    let panicking = shop.ordering(|_| async { panic!("a bug") });
    assert!(retried(&panicking.process(&Shop::delivery("1")).await).1);
    assert_eq!(
        (shop.orders(), shop.record("1").await),
        (0, Some((State::Released, 1)))
    );
}

/// A handler that swallows the error of a statement has not succeeded.
#[tokio::test]
async fn a_transaction_that_is_rolled_back_behind_the_handlers_back_is_a_failure() {
    let shop = Shop::new();
    let worker = shop
        .consumer
        .transactional(shop.store.clone(), |tx: Tx, _, _| async move {
            tx.execute_batch("ROLLBACK").unwrap();
            Ok(7_u32)
        });
    let processed = worker.process(&Shop::delivery("1")).await;
    assert!(retried(&processed).1, "{processed:?}");
    assert_eq!(shop.record("1").await, Some((State::Released, 1)));
}

/// M24: nothing has happened, and nothing ever will.
#[tokio::test]
async fn a_result_that_cannot_be_kept_is_rolled_back_and_put_aside() {
    let shop = Shop::new();
    let engine = Engine::builder(shop.store.clone()).max_result(10).build();
    let consumer = Consumer::builder(engine, SCOPE).build().unwrap();
    let worker = consumer.transactional(shop.store.clone(), |tx: Tx, _, _| async move {
        tx.execute("INSERT INTO orders VALUES ('1')", ())?;
        Ok("x".repeat(100))
    });
    let processed = worker.process(&Shop::delivery("1")).await;
    assert_eq!(dead(&processed), "permanent");
    assert_eq!(shop.orders(), 0);
}

/// M26: many at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_deliveries_at_once_write_one_order() {
    let shop = Shop::new();
    let worker = shop.succeeding();
    let mut tasks = JoinSet::new();
    for _ in 0..16 {
        let worker = worker.clone();
        tasks.spawn(async move { worker.process(&Shop::delivery("1")).await });
    }
    let processed = tasks.join_all().await;
    assert!(processed.iter().all(is_acked));
    assert_eq!(shop.orders(), 1);
}

/// A database that cannot be reached.
struct Down;

impl TransactionalStore for Down {
    type Transaction = SqliteTransaction;

    fn name(&self) -> &'static str {
        "down"
    }

    async fn begin(&self) -> Result<SqliteTransaction, StoreError> {
        Err(StoreError::Unavailable("down".into()))
    }

    async fn claim(
        &self,
        _: &Key,
        _: &ClaimRequest,
        _: Duration,
    ) -> Result<(SqliteTransaction, Claim), StoreError> {
        Err(StoreError::Unavailable("down".into()))
    }

    async fn complete(
        &self,
        _: SqliteTransaction,
        _: &Key,
        _: &Grant,
        _: &Completion,
    ) -> Result<(), CommitError> {
        unreachable!("nothing begins")
    }

    async fn finish(
        &self,
        _: SqliteTransaction,
        _: &Key,
        _: &Grant,
        _: &Completion,
    ) -> Result<(), CommitError> {
        unreachable!("nothing begins")
    }

    async fn record_step(
        &self,
        _: SqliteTransaction,
        _: &Key,
        _: &Grant,
        _: &Step,
        _: Duration,
    ) -> Result<(), CommitError> {
        unreachable!("nothing begins")
    }

    async fn commit(&self, _: SqliteTransaction) -> Result<(), CommitError> {
        unreachable!("nothing begins")
    }

    async fn rollback(&self, _: SqliteTransaction) {}
}

/// M21: without the database there is neither record nor order.
#[tokio::test(start_paused = true)]
async fn nothing_is_handled_without_the_database() {
    let shop = Shop::new();
    let worker = shop
        .consumer
        .transactional(Down, |_: Tx, _, _| async { Ok(1_u32) });
    let processed = worker.process(&Shop::delivery("1")).await;
    assert!(matches!(
        processed.outcome,
        Outcome::StoreUnavailable {
            executed: false,
            ..
        }
    ));
    assert!(!retried(&processed).1);
}

/// The whole loop, with duplicates, lost acknowledgements and consumers that are cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_is_written_once_whatever_the_broker_does() {
    let shop = Shop::new();
    let broker = shop.broker.clone().seeded(7);
    let broker = broker.duplicating(50).reordering().losing_acks(20);
    for number in 0..100 {
        broker.publish(message(&number.to_string()));
    }
    let worker = shop.succeeding();
    let mut consumers = JoinSet::new();
    while tokio::time::timeout(Duration::from_millis(20), broker.idle())
        .await
        .is_err()
    {
        if consumers.len() < 3 {
            let (worker, broker) = (worker.clone(), broker.clone());
            consumers.spawn(async move { worker.run(broker.source(), broker.idle()).await });
        }
        broker.cut_one_off();
        _ = consumers.try_join_next();
    }
    consumers.shutdown().await;
    assert_eq!(shop.orders(), 100);
    assert!(broker.dead_letters().is_empty());
    drop(shop.engine);
}
