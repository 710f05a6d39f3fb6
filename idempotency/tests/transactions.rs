//! Functions whose body runs in a transaction of the store's.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};

use idempotency::sqlite::SqliteStore;
use idempotency::sqlite::rusqlite::{self, Connection};
use idempotency::{Engine, Error, Outcome, idempotent};

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("declined")]
    Declined,
    #[error(transparent)]
    Idempotency(#[from] Error),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

struct Orders {
    engine: Engine,
    store: SqliteStore,
    runs: AtomicU32,
    directory: tempfile::TempDir,
}

impl Orders {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = SqliteStore::open(directory.path().join("db")).expect("a store");
        let engine = Engine::new(store.clone());
        let orders = Self {
            engine,
            store,
            runs: AtomicU32::new(0),
            directory,
        };
        let create = "CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT NOT NULL)";
        orders.database().execute_batch(create).expect("a table");
        orders
    }

    fn database(&self) -> Connection {
        Connection::open(self.directory.path().join("db")).expect("the file is there")
    }

    fn count(&self) -> u32 {
        let count = "SELECT count(*) FROM orders";
        let row = self.database().query_row(count, (), |row| row.get(0));
        row.expect("a number")
    }

    #[idempotent(
        key = id,
        engine = self.engine,
        ctx = run,
        transaction(tx in self.store)
    )]
    async fn create(&self, id: u32, name: String) -> Result<Outcome<u32>, Failure> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        tx.execute("INSERT INTO orders VALUES (?1, ?2)", (id, &name))?;
        if name.is_empty() {
            return Err(Failure::Declined);
        }
        drop(name);
        tokio::task::yield_now().await;
        Ok(Outcome::new(run.number()))
    }
}

/// The store is an argument: it is no part of the fingerprint, and neither is the engine.
#[idempotent(key = id, engine = engine, transaction(tx in store))]
async fn free(engine: &Engine, store: &SqliteStore, id: u32) -> Result<u64, Failure> {
    let row = "INSERT INTO orders VALUES (?1, 'free')";
    Ok(tx.execute(row, [id])? as u64)
}

fn sent<F: Future + Send>(future: F) -> F {
    future
}

#[tokio::test]
async fn a_method_commits_its_rows_with_its_result() -> Result<(), Failure> {
    let orders = Orders::new();
    let first = sent(orders.create(7, "first".to_owned())).await?;
    let again = orders.create(7, "first".to_owned()).await?;
    assert!(first.is_executed() && again.is_replayed());
    assert_eq!((*again.value(), orders.count()), (1, 1));
    assert_eq!(orders.runs.load(Ordering::Relaxed), 1);
    Ok(())
}

#[tokio::test]
async fn an_error_leaves_nothing_and_a_retry_runs() -> Result<(), Failure> {
    let orders = Orders::new();
    let declined = orders.create(7, String::new()).await;
    assert!(matches!(declined, Err(Failure::Declined)), "{declined:?}");
    assert_eq!(orders.count(), 0);
    assert!(orders.create(7, "second".to_owned()).await?.is_executed());
    assert_eq!(orders.count(), 1);
    Ok(())
}

#[tokio::test]
async fn other_arguments_do_not_match() -> Result<(), Failure> {
    let orders = Orders::new();
    orders.create(7, "first".to_owned()).await?;
    let other = orders.create(7, "other".to_owned()).await;
    assert!(matches!(
        other,
        Err(Failure::Idempotency(Error::FingerprintMismatch))
    ));
    Ok(())
}

#[tokio::test]
async fn a_free_function_names_its_store() -> Result<(), Failure> {
    let orders = Orders::new();
    for _ in 0..2 {
        assert_eq!(sent(free(&orders.engine, &orders.store, 7)).await?, 1);
    }
    assert_eq!(orders.count(), 1);
    Ok(())
}
