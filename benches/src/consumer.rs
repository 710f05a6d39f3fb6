//! What it costs that a message takes effect once: a consumer beside a loop that takes messages from the same
//! broker, writes the same row, and remembers nothing.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use idempotency::consumer::{
    Consumer, HandlerError, Message, MessageId, Mode, Settle, Source, TestBroker, Worker,
};
use idempotency::sqlite::SqliteStore;
use idempotency::{Engine, Lent};
use rusqlite::Connection;
use tokio::runtime::Runtime;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::Instant;

use crate::args::Args;
use crate::orders::threads;
use crate::progress::Progress;
use crate::rounds::{Pair, count};
use crate::table::{Bar, Row, Table, Unit};

/// The messages of a round.
const MESSAGES: usize = 2_000;
/// How many are handled at once.
const HANDLERS: usize = 16;

pub(crate) fn measure(args: &Args, progress: &Progress, table: &mut Table) -> Result<()> {
    let runtime = threads(2)?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("shop.db");
    let store = SqliteStore::open(&path)?;
    let plain = Plain::open(&path)?;
    let consumer = Consumer::builder(Engine::new(store.clone()), "bench.order");
    let consumer = consumer.concurrency(HANDLERS).build()?;
    let rows = plain.clone();
    let leased = consumer.leased(move |message, _| {
        let rows = rows.clone();
        async move { rows.write(message).await }
    });
    let transactional = consumer.transactional(store, |tx: Lent<_>, message, _| async move {
        insert(&tx, &message).map_err(HandlerError::retryable)
    });
    let mut figures = [Pair::default(), Pair::default()];
    for round in progress.rounds("consumer", args.rounds(9)) {
        let broker = |part: usize| {
            let broker = TestBroker::new();
            for number in 0..MESSAGES {
                let id = MessageId::Producer(format!("{round}-{part}-{number}"));
                broker.publish(Message::new(number.to_string()).with_id(id));
            }
            broker
        };
        let floor = by_hand(&runtime, &broker(0), &plain)?;
        let [lease, transaction] = &mut figures;
        lease.floor.add(floor);
        lease.ours.add(consumed(&runtime, &broker(1), &leased)?);
        transaction.floor.add(floor);
        transaction
            .ours
            .add(consumed(&runtime, &broker(2), &transactional)?);
    }
    let operations = [
        "consumer, a row under a lease / by hand, without a record",
        "consumer, row and record in one commit / by hand, without a record",
    ];
    for (operation, figures) in operations.into_iter().zip(figures) {
        table.add(Row {
            operation,
            callers: HANDLERS,
            unit: Unit::Rate,
            figures,
            bar: Bar::None,
        });
    }
    Ok(())
}

fn by_hand(runtime: &Runtime, broker: &TestBroker, plain: &Plain) -> Result<f64> {
    let (mut source, plain) = (broker.source(), plain.clone());
    let broker = broker.clone();
    runtime.block_on(async move {
        let began = Instant::now();
        let mut handlers = JoinSet::new();
        for _ in 0..MESSAGES {
            if handlers.len() == HANDLERS {
                handlers.join_next().await;
            }
            if let Some(delivery) = source.next().await? {
                let plain = plain.clone();
                handlers.spawn(async move {
                    if plain.write(delivery.message).await.is_ok() {
                        _ = delivery.settle.ack().await;
                    }
                });
            }
        }
        handlers.join_all().await;
        broker.idle().await;
        Ok(rate(began))
    })
}

fn consumed<M: Mode>(runtime: &Runtime, broker: &TestBroker, worker: &Worker<M>) -> Result<f64> {
    runtime.block_on(async {
        let began = Instant::now();
        worker.run(broker.source(), broker.idle()).await?;
        Ok(rate(began))
    })
}

fn rate(began: Instant) -> f64 {
    count(MESSAGES) / began.elapsed().as_secs_f64()
}

#[derive(Clone)]
struct Plain(Arc<Mutex<Connection>>);

impl Plain {
    fn open(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.execute_batch("CREATE TABLE orders (id TEXT NOT NULL) STRICT")?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    async fn write(&self, message: Message) -> Result<(), HandlerError> {
        let connection = Arc::clone(&self.0);
        let written = spawn_blocking(move || {
            let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            connection.execute_batch("BEGIN IMMEDIATE")?;
            insert(&connection, &message)?;
            connection.execute_batch("COMMIT")
        });
        Ok(written.await??)
    }
}

fn insert(connection: &Connection, message: &Message) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached("INSERT INTO orders VALUES (?1)")?;
    insert.execute([String::from_utf8_lossy(&message.body)])?;
    Ok(())
}
