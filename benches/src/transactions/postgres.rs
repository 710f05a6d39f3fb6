use std::str::FromStr;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use idempotency::postgres::deadpool_postgres::{Manager, Pool};
use idempotency::postgres::tokio_postgres::{self, Config, NoTls};
use idempotency::postgres::{PostgresStore, PostgresTransactions};
use idempotency::{Engine, Error, idempotent};
use idempotent_testkit::server::PostgresServer;
use tokio::runtime::Runtime;

use super::{Desks, Lease, Names, rate};
use crate::args::Args;
use crate::orders::{Desk, Order, Receipt, deliver, orders};
use crate::progress::Progress;
use crate::rounds::{Pair, count};
use crate::table::{Bar, Row, Table, Unit};

const TABLES: &str = "
    CREATE TABLE orders (id text PRIMARY KEY, quantity bigint NOT NULL);
    CREATE TABLE lines (id text NOT NULL, item text NOT NULL);";
const INSERT_ORDER: &str = "INSERT INTO orders VALUES ($1, $2)";
const INSERT_LINE: &str = "INSERT INTO lines VALUES ($1, $2)";
const CONNECTIONS: usize = 16;
/// How many calls are made to see what one costs the server.
const COUNTED: usize = 500;
/// When the server has counted all that it has done: a session that is idle tells of its commits after
/// ten seconds.
const COUNTING: Duration = Duration::from_secs(11);

const NAMES: Names = Names {
    progress: "postgres, transactions",
    transaction: "postgres, rows and record in one transaction / rows alone",
    lease: "postgres, rows under a lease / rows alone",
    replay: "postgres, replay in a transaction / primary-key select",
};

const SLOW: Names = Names {
    progress: "postgres, transactions, 1 ms commits",
    transaction: "postgres, 1 ms commits: rows and record in one / rows alone",
    lease: "postgres, 1 ms commits: rows under a lease / rows alone",
    replay: "postgres, 1 ms commits: replay / primary-key select",
};

type AllDesks = Desks<Plain, Transaction, Lease<Plain>, Select>;

/// Makes the tables, and the ways to take orders there.
fn open(runtime: &Runtime, server: &PostgresServer, text: &'static str) -> Result<AllDesks> {
    let store = runtime.block_on(PostgresStore::connect(server.url()))?;
    server.ask(TABLES)?;
    let manager = Manager::new(Config::from_str(server.url())?, NoTls);
    let pool = Pool::builder(manager).max_size(CONNECTIONS).build()?;
    let engine = Engine::new(store.clone());
    let plain = Plain { pool, text };
    Ok(Desks {
        transaction: Transaction {
            transactions: store.transactions(plain.pool.clone()),
            engine: engine.clone(),
            text,
        },
        lease: Lease {
            engine,
            plain: plain.clone(),
        },
        select: Select(plain.clone()),
        plain,
    })
}

pub(super) fn measure(
    runtime: &Runtime,
    text: &'static str,
    args: &Args,
    progress: &Progress,
    table: &mut Table,
) -> Result<()> {
    // As a user has it: a commit is on the disk, which is a quick one or takes a millisecond.
    let slow = PostgresServer::builder()
        .durable()
        .setting("commit_delay", "1000")
        .setting("commit_siblings", "0");
    let slow = slow.start()?;
    open(runtime, &slow, text)?.measure(runtime, &SLOW, args, progress, table)?;
    drop(slow);
    let server = PostgresServer::builder().durable().start()?;
    let desks = open(runtime, &server, text)?;
    desks.measure(runtime, &NAMES, args, progress, table)?;

    let mut meter = Meter::start(&server)?;
    let mut used = |part: usize, desk: &dyn Fn(&[Order]) -> Result<f64>| {
        desk(&orders(90_000_000 + part * COUNTED, COUNTED))?;
        meter.each_of(COUNTED)
    };
    let plain = used(0, &|orders| rate(runtime, &desks.plain, orders, 1))?;
    let kinds = [
        (
            [
                "postgres, log of one transaction, bytes",
                "postgres, commits of one transaction",
            ],
            used(1, &|orders| rate(runtime, &desks.transaction, orders, 1))?,
        ),
        (
            [
                "postgres, log under a lease, bytes",
                "postgres, commits under a lease",
            ],
            used(2, &|orders| rate(runtime, &desks.lease, orders, 1))?,
        ),
        (
            [
                "postgres, log of a replay, bytes",
                "postgres, commits of a replay",
            ],
            used(1, &|orders| rate(runtime, &desks.transaction, orders, 1))?,
        ),
    ];
    for (names, use_of) in kinds {
        for (operation, (floor, ours)) in names.into_iter().zip(plain.into_iter().zip(use_of)) {
            let mut figures = Pair::default();
            figures.floor.add(floor);
            figures.ours.add(ours);
            table.add(Row {
                operation,
                callers: 1,
                unit: Unit::Count,
                figures,
                bar: Bar::None,
            });
        }
    }
    Ok(())
}

/// Reads what the server has written and committed.
struct Meter<'a> {
    server: &'a PostgresServer,
    read: [f64; 2],
}

impl<'a> Meter<'a> {
    fn start(server: &'a PostgresServer) -> Result<Self> {
        let read = Self::read(server)?;
        Ok(Self { server, read })
    }

    fn read(server: &PostgresServer) -> Result<[f64; 2]> {
        sleep(COUNTING);
        let question = "SELECT pg_current_wal_insert_lsn() - '0/0', xact_commit
                          FROM pg_stat_database WHERE datname = current_database()";
        let answer = server.ask(question)?;
        let mut numbers = answer.trim().split('|').map(str::parse);
        let mut next = || anyhow::Ok(numbers.next().context("two numbers")??);
        Ok([next()?, next()?])
    }

    /// The bytes of the log, and the commits, that each of `calls` took since the last reading.
    fn each_of(&mut self, calls: usize) -> Result<[f64; 2]> {
        let before = self.read;
        self.read = Self::read(self.server)?;
        // One commit is the reading's own.
        let used = [self.read[0] - before[0], self.read[1] - before[1] - 1.0];
        Ok(used.map(|all| all / count(calls)))
    }
}

#[derive(Clone)]
struct Plain {
    pool: Pool,
    text: &'static str,
}

impl Desk for Plain {
    async fn take(&self, order: Order) -> Result<Receipt> {
        let mut client = self.pool.get().await?;
        let row = client.prepare_cached(INSERT_ORDER).await?;
        let line = client.prepare_cached(INSERT_LINE).await?;
        let transaction = client.transaction().await?;
        let quantity = i64::from(order.quantity);
        transaction
            .execute(&row, &[&order.request, &quantity])
            .await?;
        transaction
            .execute(&line, &[&order.request, &order.item])
            .await?;
        transaction.commit().await?;
        Ok(deliver(self.text, &order))
    }
}

#[derive(Clone)]
struct Transaction {
    engine: Engine,
    transactions: PostgresTransactions,
    text: &'static str,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Idempotency(#[from] Error),
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),
}

impl Transaction {
    #[idempotent(
        key = order.request,
        scope = "shop.transaction.postgres",
        engine = self.engine,
        transaction(tx in self.transactions)
    )]
    async fn order(&self, order: Order) -> Result<Receipt, Failure> {
        let row = tx.prepare_cached(INSERT_ORDER).await?;
        let line = tx.prepare_cached(INSERT_LINE).await?;
        let quantity = i64::from(order.quantity);
        tx.execute(&row, &[&order.request, &quantity]).await?;
        tx.execute(&line, &[&order.request, &order.item]).await?;
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
        let client = self.0.pool.get().await?;
        let select = "SELECT quantity FROM orders WHERE id = $1";
        let select = client.prepare_cached(select).await?;
        client.query_one(&select, &[&order.request]).await?;
        Ok(deliver(self.0.text, &order))
    }
}
