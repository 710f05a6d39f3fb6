use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use idempotency::sqlite::SqliteStore;
use idempotency::{Engine, Error, idempotent};
use rusqlite::{Connection, OptionalExtension};
use tokio::runtime::Runtime;
use tokio::task::spawn_blocking;

use super::{Desks, Lease, Names};
use crate::args::Args;
use crate::orders::{Desk, Order, Receipt, deliver};
use crate::progress::Progress;
use crate::table::Table;

const TABLES: &str = "
    CREATE TABLE orders (id TEXT PRIMARY KEY, quantity INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE lines (id TEXT NOT NULL, item TEXT NOT NULL) STRICT;";
const INSERT_ORDER: &str = "INSERT INTO orders VALUES (?1, ?2)";
const INSERT_LINE: &str = "INSERT INTO lines VALUES (?1, ?2)";

const NAMES: Names = Names {
    progress: "sqlite, transactions",
    transaction: "sqlite, rows and record in one transaction / rows alone",
    lease: "sqlite, rows under a lease / rows alone",
    replay: "sqlite, replay in a transaction / primary-key select",
};

pub(super) fn measure(
    runtime: &Runtime,
    text: &'static str,
    args: &Args,
    progress: &Progress,
    table: &mut Table,
) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("shop.db");
    let store = SqliteStore::open(&path)?;
    let plain = Plain::open(&path, text)?;
    let engine = Engine::new(store.clone());
    let desks = Desks {
        transaction: Transaction {
            engine: engine.clone(),
            store,
            text,
        },
        lease: Lease {
            engine,
            plain: plain.clone(),
        },
        select: Select(plain.clone()),
        plain,
    };
    desks.measure(runtime, &NAMES, args, progress, table)
}

#[derive(Clone)]
struct Plain {
    connection: Arc<Mutex<Connection>>,
    text: &'static str,
}

impl Plain {
    fn open(path: &Path, text: &'static str) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.execute_batch(TABLES)?;
        let connection = Arc::new(Mutex::new(connection));
        Ok(Self { connection, text })
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let connection = Arc::clone(&self.connection);
        let work = move || work(&connection.lock().unwrap_or_else(PoisonError::into_inner));
        spawn_blocking(work).await?
    }
}

/// The order's own rows.
fn insert(connection: &Connection, order: &Order) -> rusqlite::Result<()> {
    let mut row = connection.prepare_cached(INSERT_ORDER)?;
    row.execute((&order.request, order.quantity))?;
    let mut line = connection.prepare_cached(INSERT_LINE)?;
    line.execute((&order.request, &order.item))?;
    Ok(())
}

impl Desk for Plain {
    async fn take(&self, order: Order) -> Result<Receipt> {
        let text = self.text;
        self.with(move |connection| {
            connection.execute_batch("BEGIN IMMEDIATE")?;
            insert(connection, &order)?;
            connection.execute_batch("COMMIT")?;
            Ok(deliver(text, &order))
        })
        .await
    }
}

#[derive(Clone)]
struct Transaction {
    engine: Engine,
    store: SqliteStore,
    text: &'static str,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Idempotency(#[from] Error),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

impl Transaction {
    #[idempotent(
        key = order.request,
        scope = "shop.transaction.sqlite",
        engine = self.engine,
        transaction(tx in self.store)
    )]
    async fn order(&self, order: Order) -> Result<Receipt, Failure> {
        insert(tx, &order)?;
        Ok(deliver(self.text, &order))
    }
}

impl Desk for Transaction {
    async fn take(&self, order: Order) -> Result<Receipt> {
        Ok(self.order(order).await?)
    }
}

#[derive(Clone)]
struct Select(Plain);

impl Desk for Select {
    async fn take(&self, order: Order) -> Result<Receipt> {
        let text = self.0.text;
        self.0
            .with(move |connection| {
                let mut select =
                    connection.prepare_cached("SELECT quantity FROM orders WHERE id = ?1")?;
                let row = select.query_row([&order.request], |row| row.get::<_, u32>(0));
                row.optional()?.context("the order is there")?;
                Ok(deliver(text, &order))
            })
            .await
    }
}
