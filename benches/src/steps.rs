//! What a recorded step costs, beside the least that anybody has to do who records something: one write
//! by hand, to the same place.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use idempotency::postgres::tokio_postgres::{Config, NoTls};
use idempotency::postgres::{PostgresStore, PostgresTransaction, deadpool_postgres};
use idempotency::redis::RedisStore;
use idempotency::sqlite::{SqliteStore, SqliteTransaction};
use idempotency::{Attempt, Engine, Error, Lent, MemoryStore, TransactionalStore};
use idempotent_testkit::server::{PostgresServer, RedisServer};
use redis::AsyncCommands;
use rusqlite::Connection;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::args::Args;
use crate::orders::threads;
use crate::progress::Progress;
use crate::rounds::Pair;
use crate::table::{Bar, Row, Table, Unit};

/// The steps of an operation.
const STEPS: usize = 20;
/// The operations of a round.
const OPERATIONS: usize = 20;
/// What a step gives.
const VALUE: &str = "ch_3MmlLrLkdIwHu7ix0snN0B15";

pub(crate) fn measure(args: &Args, progress: &Progress, table: &mut Table) -> Result<()> {
    let runtime = threads(2)?;
    let bench = Bench {
        runtime: &runtime,
        rounds: args.rounds(15),
        progress,
    };
    bench.memory(table)?;
    bench.sqlite(table)?;
    bench.redis(table)?;
    bench.postgres(table)
}

struct Bench<'a> {
    runtime: &'a Runtime,
    rounds: usize,
    progress: &'a Progress,
}

impl Bench<'_> {
    fn memory(&self, table: &mut Table) -> Result<()> {
        let engine = Engine::new(MemoryStore::new());
        let map = Mutex::new(HashMap::new());
        let write = async |n: usize| {
            let value = serde_json::to_vec(VALUE)?;
            let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
            map.insert(n.to_string(), value);
            Ok(())
        };
        self.compare(
            "memory, a step / an entry of a map",
            write,
            &steps(&engine),
            table,
        )
    }

    fn sqlite(&self, table: &mut Table) -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("steps.db");
        let store = SqliteStore::open(&path)?;
        let engine = Engine::new(store.clone());
        let plain = Connection::open(&path)?;
        plain.pragma_update(None, "synchronous", "FULL")?;
        plain.busy_timeout(Duration::from_secs(5))?;
        plain.execute_batch("CREATE TABLE entries (id INTEGER NOT NULL, value TEXT) STRICT")?;
        let plain = Arc::new(Mutex::new(plain));
        let write = async |n: usize| {
            let plain = Arc::clone(&plain);
            // The disk is waited for on a thread that may block.
            tokio::task::spawn_blocking(move || {
                let plain = plain.lock().unwrap_or_else(PoisonError::into_inner);
                plain.execute_batch("BEGIN IMMEDIATE")?;
                insert(&plain, n)?;
                plain.execute_batch("COMMIT")
            })
            .await??;
            Ok(())
        };
        self.compare(
            "sqlite, a step / a commit of a row",
            write,
            &steps(&engine),
            table,
        )?;
        let insert = |tx: Lent<SqliteTransaction>, n| async move {
            insert(&tx, n).map_err(|error| anyhow::Error::from(error).into())
        };
        let tx_steps = tx_steps(&engine, &store, &insert);
        self.compare(
            "sqlite, a row and its step / a commit of a row",
            write,
            &tx_steps,
            table,
        )
    }

    fn redis(&self, table: &mut Table) -> Result<()> {
        let server = RedisServer::start()?;
        let store = self.runtime.block_on(RedisStore::connect(server.url()))?;
        let engine = Engine::new(store);
        let client = redis::Client::open(server.url())?;
        let connection = self
            .runtime
            .block_on(client.get_multiplexed_async_connection())?;
        let write = async |n: usize| {
            let mut connection = connection.clone();
            Ok(connection.set::<_, _, ()>(n, VALUE).await?)
        };
        self.compare("redis, a step / a `SET`", write, &steps(&engine), table)
    }

    fn postgres(&self, table: &mut Table) -> Result<()> {
        let server = PostgresServer::builder().durable().start()?;
        server.ask("CREATE TABLE entries (id bigint NOT NULL, value text)")?;
        let store = self
            .runtime
            .block_on(PostgresStore::connect(server.url()))?;
        let manager = deadpool_postgres::Manager::new(Config::from_str(server.url())?, NoTls);
        let pool = deadpool_postgres::Pool::builder(manager)
            .max_size(2)
            .build()?;
        let transactions = store.transactions(pool.clone());
        let engine = Engine::new(store);
        let write = async |n: usize| {
            let mut client = pool.get().await?;
            let insert = client.prepare_cached(INSERT).await?;
            let transaction = client.transaction().await?;
            transaction
                .execute(&insert, &[&i64::try_from(n)?, &VALUE])
                .await?;
            Ok(transaction.commit().await?)
        };
        let alone = async |n: usize| {
            let client = pool.get().await?;
            let insert = client.prepare_cached(INSERT).await?;
            client
                .execute(&insert, &[&i64::try_from(n)?, &VALUE])
                .await?;
            Ok(())
        };
        self.compare(
            "postgres, a step / an `INSERT`",
            alone,
            &steps(&engine),
            table,
        )?;
        let insert = |tx: Lent<PostgresTransaction>, n| async move { Ok(insert_in(&tx, n).await?) };
        let tx_steps = tx_steps(&engine, &transactions, &insert);
        self.compare(
            "postgres, a row and its step / a transaction of a row",
            write,
            &tx_steps,
            table,
        )
    }

    /// Adds what a step takes beside what `write` takes.
    fn compare(
        &self,
        operation: &'static str,
        write: impl AsyncFn(usize) -> Result<()>,
        steps: &impl AsyncFn(String) -> Result<Duration, Failure>,
        table: &mut Table,
    ) -> Result<()> {
        let mut figures = Pair::default();
        for round in self.progress.rounds(operation, self.rounds) {
            let began = Instant::now();
            self.runtime.block_on(async {
                for n in 0..OPERATIONS * STEPS {
                    write(round * OPERATIONS * STEPS + n).await?;
                }
                anyhow::Ok(())
            })?;
            figures.floor.add_time(began.elapsed(), OPERATIONS * STEPS);
            let mut spent = Duration::ZERO;
            for number in 0..OPERATIONS {
                let key = format!("{operation} {round} {number}");
                spent += self.runtime.block_on(steps(key))?;
            }
            figures.ours.add_time(spent, OPERATIONS * STEPS);
        }
        table.add(Row {
            operation,
            callers: 1,
            unit: Unit::Time,
            figures,
            bar: Bar::None,
        });
        Ok(())
    }
}

const INSERT: &str = "INSERT INTO entries VALUES ($1, $2)";

fn insert(connection: &Connection, n: usize) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached("INSERT INTO entries VALUES (?1, ?2)")?;
    insert.execute((i64::try_from(n).unwrap_or_default(), VALUE))?;
    Ok(())
}

async fn insert_in(client: &deadpool_postgres::ClientWrapper, n: usize) -> Result<()> {
    let insert = client.prepare_cached(INSERT).await?;
    client
        .execute(&insert, &[&i64::try_from(n)?, &VALUE])
        .await?;
    Ok(())
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Idempotency(#[from] Error),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// An operation of steps that do nothing, which says how long they took.
fn steps(engine: &Engine) -> impl AsyncFn(String) -> Result<Duration, Failure> {
    async move |key: String| {
        let operation = engine.operation("bench.steps").key(key);
        let body = async |run: Attempt| {
            let began = Instant::now();
            for n in 0..STEPS {
                let step = async |_| Ok::<_, Failure>(VALUE.to_owned());
                run.step_n("step", n, step).await?;
            }
            Ok(began.elapsed())
        };
        operation.run_with(body).await
    }
}

/// An operation of steps that write a row each.
fn tx_steps<S, F>(
    engine: &Engine,
    store: &S,
    insert: &impl Fn(Lent<S::Transaction>, usize) -> F,
) -> impl AsyncFn(String) -> Result<Duration, Failure>
where
    S: TransactionalStore,
    F: Future<Output = Result<(), Failure>>,
{
    async move |key: String| {
        let operation = engine.operation("bench.rows").key(key);
        let body = async |run: Attempt| {
            let began = Instant::now();
            for n in 0..STEPS {
                run.tx_step(n.to_string(), store, |tx| insert(tx, n))
                    .await?;
            }
            Ok(began.elapsed())
        };
        operation.run_with(body).await
    }
}
