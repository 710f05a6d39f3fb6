//! Operations in a transaction that the caller has opened.

use std::time::Duration;

use idempotent_core::protocol::{Claim, ClaimRequest, Completion, Grant, Update};
use idempotent_core::{EngineBuilder, Key, Operation, RecordsIn, State, StoreError};
use idempotent_sqlite::SqliteStore;
use idempotent_sqlite::rusqlite::Connection;

use crate::transactions::{Failure, Shop};

/// T27: the record lives or dies with the caller's transaction.
#[tokio::test]
async fn a_callers_own_transaction_takes_the_record_with_it() {
    let shop = &Shop::new();
    let mut database = shop.database();
    for (end, orders, record) in [("ROLLBACK", 0, None), ("COMMIT", 1, Some(State::Completed))] {
        database.execute_batch("BEGIN IMMEDIATE").unwrap();
        let operation = shop.operation("1");
        operation
            .run_within(&shop.store, &mut database, |tx, _| async move {
                shop.write(&tx, "1")
            })
            .await
            .unwrap();
        assert_eq!(shop.record("1").await, None, "nobody sees it before");
        database.execute_batch(end).unwrap();
        assert_eq!((shop.orders(), shop.record("1").await), (orders, record));
    }
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let operation = shop.operation("1");
    let replayed = operation.run_within(&shop.store, &mut database, async |_, _| {
        Ok::<u32, Failure>(99)
    });
    let replayed = replayed.await;
    assert_eq!(replayed.unwrap(), 2);
    database.execute_batch("COMMIT").unwrap();
}

#[tokio::test]
async fn an_error_undoes_the_operation_and_leaves_the_callers_transaction_as_it_was() {
    let shop = &Shop::new();
    let mut database = shop.database();
    database
        .execute_batch("BEGIN IMMEDIATE; INSERT INTO orders VALUES ('before')")
        .unwrap();
    let operation = shop.operation("1");
    let answer = operation
        .run_within(&shop.store, &mut database, |tx, _| async move {
            shop.write(&tx, "1")?;
            Err::<u32, _>(Failure::Declined)
        })
        .await;
    assert!(matches!(answer, Err(Failure::Declined)));
    let operation = shop.operation("2").record_errors();
    let answer = operation
        .run_within(&shop.store, &mut database, |tx, _| async move {
            shop.write(&tx, "1")?;
            Err::<u32, _>(Failure::Declined)
        })
        .await;
    assert!(matches!(answer, Err(Failure::Declined)));
    database.execute_batch("COMMIT").unwrap();
    assert_eq!(shop.orders(), 1);
    assert_eq!(shop.record("1").await, None);
    assert_eq!(shop.record("2").await, Some(State::Failed));
}

#[tokio::test]
async fn without_a_transaction_nothing_is_run_within_one() {
    let shop = &Shop::new();
    let mut database = shop.database();
    let operation = shop.operation("1");
    let error = operation
        .run_within(&shop.store, &mut database, |tx, _| async move {
            shop.write(&tx, "1")
        })
        .await
        .unwrap_err();
    assert!(error.to_string().contains("Ended"), "{error}");
    assert_eq!((shop.runs(), shop.orders()), (0, 0));
}

/// Keeps records, but for claims, each of which fails and leaves something behind.
struct Refusing(SqliteStore);

impl RecordsIn<Connection> for Refusing {
    fn name(&self) -> &'static str {
        "refusing"
    }

    async fn claim(
        &self,
        connection: &mut Connection,
        _: &Key,
        _: &ClaimRequest,
        _: Duration,
    ) -> Result<Claim, StoreError> {
        let row = "INSERT INTO orders VALUES ('of a claim')";
        connection.execute(row, ()).unwrap();
        Err(StoreError::Unavailable("no".into()))
    }

    async fn complete(
        &self,
        connection: &mut Connection,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<Update, StoreError> {
        self.0.complete(connection, key, grant, completion).await
    }

    async fn savepoint(&self, connection: &mut Connection) -> Result<(), StoreError> {
        self.0.savepoint(connection).await
    }

    async fn release(&self, connection: &mut Connection) -> Result<(), StoreError> {
        self.0.release(connection).await
    }

    async fn undo(&self, connection: &mut Connection) -> Result<(), StoreError> {
        self.0.undo(connection).await
    }
}

/// Runs `operation`, which writes the order `id`, in a transaction that is committed.
async fn create_within(
    shop: &Shop,
    store: &impl RecordsIn<Connection>,
    operation: Operation,
    id: &str,
) -> Result<u32, Failure> {
    let mut database = shop.database();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let created = operation.run_within(
        store,
        &mut database,
        |tx, _| async move { shop.write(&tx, id) },
    );
    let created = created.await;
    database.execute_batch("COMMIT").unwrap();
    created
}

#[tokio::test]
async fn a_shadow_runs_whatever_the_store_says() {
    let shop = &Shop::with(EngineBuilder::shadow);
    for (run, id) in [(1, "first"), (2, "second")] {
        // A result that would be replayed, but for the shadow.
        let operation = shop.operation("1");
        let created = create_within(shop, &shop.store, operation, id).await;
        assert_eq!(created.unwrap(), run);
    }
    let mismatch = shop.operation("1").fingerprint(&"other");
    let created = create_within(shop, &shop.store, mismatch, "third").await;
    assert_eq!(created.unwrap(), 3);

    let refusing = Refusing(shop.store.clone());
    let refused = create_within(shop, &refusing, shop.operation("2"), "fourth").await;
    assert_eq!(refused.unwrap(), 4);
    assert_eq!(shop.orders(), 4, "what a claim has left is undone");
    assert_eq!(shop.record("1").await, Some(State::Completed));
    assert_eq!(shop.record("2").await, None);
}

#[tokio::test]
async fn without_a_shadow_nothing_runs_unless_the_store_says_so() {
    let shop = &Shop::new();
    let refusing = Refusing(shop.store.clone());
    let refused = create_within(shop, &refusing, shop.operation("1"), "first").await;
    assert!(refused.unwrap_err().to_string().contains("Unavailable"));
    assert_eq!(shop.runs(), 0);
}

#[tokio::test]
async fn what_this_process_remembers_is_not_asked_for() {
    let shop = &Shop::with(|engine| engine.near_cache(10));
    shop.create("1").await.unwrap();
    let refusing = Refusing(shop.store.clone());
    let replayed = create_within(shop, &refusing, shop.operation("1"), "second").await;
    assert_eq!((replayed.unwrap(), shop.runs()), (1, 1));

    let mismatch = shop.operation("1").fingerprint(&"other");
    let error = create_within(shop, &refusing, mismatch, "third").await;
    assert!(error.unwrap_err().to_string().contains("Mismatch"));
}

/// What a transaction finds may be its own, and go with it.
#[tokio::test]
async fn what_is_not_committed_is_not_remembered() {
    let shop = &Shop::with(|engine| engine.near_cache(10));
    let mut database = shop.database();
    for runs in [1, 2] {
        database.execute_batch("BEGIN IMMEDIATE").unwrap();
        for _ in 0..2 {
            let operation = shop.operation("1");
            let created = operation.run_within(&shop.store, &mut database, |tx, _| async move {
                shop.write(&tx, "1")
            });
            assert_eq!(created.await.unwrap(), runs);
        }
        database.execute_batch("ROLLBACK").unwrap();
    }
}
