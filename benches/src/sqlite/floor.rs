use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use crate::orders::{Desk, Order, Receipt, deliver};

/// The most statements that are committed together.
const GROUP: usize = 256;

/// What a careful engineer writes on `SQLite`: a row that claims, and an update that completes, each in
/// a transaction of its own.
///
/// It knows neither fingerprints nor leases nor attempts, and forgets nothing.
#[derive(Clone, Debug)]
pub(super) struct Alone {
    connection: Arc<Mutex<Connection>>,
    text: &'static str,
}

/// The same with a thread that commits what several callers want together.
#[derive(Clone, Debug)]
pub(super) struct Grouped {
    jobs: Sender<(Job, oneshot::Sender<Result<Done>>)>,
    text: &'static str,
}

/// What is to be written.
#[derive(Debug)]
enum Job {
    Claim(String),
    Complete(String, Vec<u8>),
}

/// What was written, or there already.
#[derive(Debug)]
enum Done {
    Claimed,
    Completed,
    Found(Vec<u8>),
}

impl Job {
    fn run(&self, connection: &Connection) -> Result<Done> {
        match self {
            Self::Claim(key) => claim(connection, key),
            Self::Complete(key, result) => {
                let mut update = connection.prepare_cached(
                    "UPDATE floor SET result = ?2 WHERE key = ?1 AND result IS NULL",
                )?;
                match update.execute((key, result))? {
                    1 => Ok(Done::Completed),
                    _ => bail!("the order is not being taken"),
                }
            }
        }
    }
}

fn claim(connection: &Connection, key: &str) -> Result<Done> {
    let mut find = connection.prepare_cached("SELECT result FROM floor WHERE key = ?1")?;
    let found: Option<Option<Vec<u8>>> = find.query_row([key], |row| row.get(0)).optional()?;
    if let Some(result) = found {
        return Ok(Done::Found(result.context("the order is being taken")?));
    }
    let mut insert =
        connection.prepare_cached("INSERT INTO floor (key) VALUES (?1) ON CONFLICT DO NOTHING")?;
    match insert.execute([key])? {
        1 => Ok(Done::Claimed),
        _ => bail!("the order is being taken"),
    }
}

fn open(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(
        "CREATE TABLE floor (key TEXT PRIMARY KEY, result BLOB) STRICT, WITHOUT ROWID",
    )?;
    Ok(connection)
}

impl Alone {
    pub(super) fn open(path: &Path, text: &'static str) -> Result<Self> {
        let connection = Arc::new(Mutex::new(open(path)?));
        Ok(Self { connection, text })
    }

    async fn run(&self, job: Job) -> Result<Done> {
        let connection = Arc::clone(&self.connection);
        spawn_blocking(move || {
            let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            job.run(&connection)
        })
        .await?
    }
}

impl Grouped {
    pub(super) fn open(path: &Path, text: &'static str) -> Result<Self> {
        let connection = open(path)?;
        let (jobs, received) = channel();
        thread::Builder::new().spawn(move || write(connection, &received))?;
        Ok(Self { jobs, text })
    }

    async fn run(&self, job: Job) -> Result<Done> {
        let (reply, answer) = oneshot::channel();
        self.jobs
            .send((job, reply))
            .map_err(|_| anyhow!("the thread that writes is gone"))?;
        answer.await?
    }
}

/// Does jobs until nobody is left to send any.
fn write(mut connection: Connection, jobs: &Receiver<(Job, oneshot::Sender<Result<Done>>)>) {
    while let Ok(first) = jobs.recv() {
        let group: Vec<_> = [first]
            .into_iter()
            .chain(jobs.try_iter())
            .take(GROUP)
            .collect();
        let (jobs, replies): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let done = commit(&mut connection, &jobs);
        for (reply, done) in replies.into_iter().zip(done) {
            // Nobody waits for it any more if this fails.
            _ = reply.send(done);
        }
    }
}

/// Does `jobs` in one transaction. If it fails, none of them is done.
fn commit(connection: &mut Connection, jobs: &[Job]) -> Vec<Result<Done>> {
    try_commit(connection, jobs).unwrap_or_else(|error| {
        let failed = |_| Err(anyhow!("{error:#}"));
        jobs.iter().map(failed).collect()
    })
}

fn try_commit(connection: &mut Connection, jobs: &[Job]) -> Result<Vec<Result<Done>>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = jobs.iter().map(|job| job.run(&transaction)).collect();
    transaction.commit()?;
    Ok(done)
}

macro_rules! desk {
    ($($floor:ty),*) => {$(
        impl Desk for $floor {
            async fn take(&self, order: Order) -> Result<Receipt> {
                let key = format!("orders.take/{}:{}", order.customer, order.request);
                match self.run(Job::Claim(key.clone())).await? {
                    Done::Found(result) => return Ok(serde_json::from_slice(&result)?),
                    Done::Claimed | Done::Completed => {}
                }
                let receipt = deliver(self.text, &order);
                let result = serde_json::to_vec(&receipt)?;
                self.run(Job::Complete(key, result)).await?;
                Ok(receipt)
            }
        }
    )*};
}

desk!(Alone, Grouped);
