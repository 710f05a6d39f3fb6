//! What the operations cost the server.

use std::time::Duration;

use idempotent_core::protocol::{Claim, Release, ReleaseMode, StepReply, Update};
use idempotent_core::{Ending, Key, Store};
use idempotent_postgres::PostgresStore;
use idempotent_postgres::tokio_postgres::{NoTls, connect};
use idempotent_testkit::server::PostgresServer;
use tokio::time::sleep;

use crate::common::{LEASE, TTL, grant, key, request, step, value};

/// A server where nothing writes but the store, which is in a database of its own.
pub(crate) struct Quiet {
    server: PostgresServer,
}

impl Quiet {
    pub(crate) fn start() -> Self {
        let server = PostgresServer::builder()
            .setting("autovacuum", "off")
            .setting("wal_level", "minimal")
            .setting("max_wal_senders", "0")
            .start()
            .unwrap();
        server.ask("CREATE DATABASE shop").unwrap();
        Self { server }
    }

    pub(crate) fn url(&self) -> String {
        let server = self.server.url().strip_suffix("/postgres").unwrap();
        format!("{server}/shop")
    }

    pub(crate) async fn connect(&self) -> PostgresStore {
        let url = self.url();
        let options = PostgresStore::options().connections(1);
        options.connect(&url).await.unwrap()
    }

    /// What the database has counted, once the sessions that count are gone.
    async fn counted(&self, counter: &str) -> i64 {
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'shop'";
        while self.server.ask(sessions).unwrap() != "0" {
            sleep(Duration::from_millis(10)).await;
        }
        let count = format!("SELECT {counter} FROM pg_stat_database WHERE datname = 'shop'");
        self.server.ask(&count).unwrap().parse().unwrap()
    }

    async fn counters<const N: usize>(&self, select: &str) -> [i64; N] {
        let (client, connection) = connect(&self.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        let row = client.query_one(select, &[]).await.unwrap();
        std::array::from_fn(|column| row.get(column))
    }

    pub(crate) fn position(&self) -> (String, String) {
        let ask = |sql: &str| self.server.ask(sql).unwrap();
        (
            ask("SELECT pg_current_wal_insert_lsn()"),
            ask("SELECT pg_snapshot_xmax(pg_current_snapshot())"),
        )
    }
}

async fn call(store: &PostgresStore, key: &Key) {
    let grant = grant(store, key).await;
    let update = store.complete(key, &grant, &value("paid")).await.unwrap();
    assert_eq!(update, Update::Applied);
}

async fn duplicate(store: &PostgresStore, key: &Key) -> Claim {
    store.claim(key, &request()).await.unwrap()
}

/// Each in a transaction of its own.
#[tokio::test]
async fn a_first_call_takes_two_statements_and_a_replay_one() {
    let quiet = Quiet::start();
    let mut commits = Vec::new();
    // With what it takes to connect and to prepare, which is the same each time.
    for (round, (calls, replays)) in [(1, 1), (1, 1), (51, 1), (1, 71)].iter().enumerate() {
        let before = quiet.counted("xact_commit").await;
        let store = quiet.connect().await;
        for number in 0..*calls {
            call(&store, &key(&format!("{round}-{number}"))).await;
        }
        for _ in 0..*replays {
            let claim = duplicate(&store, &key(&format!("{round}-0"))).await;
            assert!(matches!(claim, Claim::Done(_)), "{claim:?}");
        }
        drop(store);
        commits.push(quiet.counted("xact_commit").await - before);
    }
    let [_, least, with_calls, with_replays] = commits[..] else {
        panic!("{commits:?}");
    };
    assert_eq!(with_calls - least, 2 * 50, "{commits:?}");
    assert_eq!(with_replays - least, 70, "{commits:?}");
}

/// A step, with the renewal of the lease that comes with it.
#[tokio::test]
async fn a_step_takes_one_statement() {
    let quiet = Quiet::start();
    let mut commits = Vec::new();
    for steps in [1, 1, 51] {
        let before = quiet.counted("xact_commit").await;
        let store = quiet.connect().await;
        let key = key(&commits.len().to_string());
        let grant = grant(&store, &key).await;
        for number in 0..steps {
            let step = step(&number.to_string());
            let reply = store.record_step(&key, &grant, &step, LEASE).await.unwrap();
            assert_eq!(reply, StepReply::Recorded);
        }
        drop(store);
        commits.push(quiet.counted("xact_commit").await - before);
    }
    assert_eq!(commits[2] - commits[1], 50, "{commits:?}");
}

/// No log, no lock, and no number of a transaction either.
#[tokio::test]
async fn duplicates_write_nothing() {
    let quiet = Quiet::start();
    let store = quiet.connect().await;
    let (done, busy) = (key("done"), key("busy"));
    call(&store, &done).await;
    grant(&store, &busy).await;
    // The first look at a page may tidy it.
    duplicate(&store, &done).await;

    let before = quiet.position();
    for _ in 0..200 {
        let claim = duplicate(&store, &done).await;
        assert!(matches!(claim, Claim::Done(_)), "{claim:?}");
        let claim = duplicate(&store, &busy).await;
        assert!(matches!(claim, Claim::Busy { .. }), "{claim:?}");
    }
    assert_eq!(quiet.position(), before);
}

/// Changed in place ("HOT"), so that neither index is.
#[tokio::test]
async fn completing_and_renewing_leave_the_indexes_alone() {
    let quiet = Quiet::start();
    let store = quiet.connect().await;
    for number in 0..500 {
        let key = key(&number.to_string());
        let grant = grant(&store, &key).await;
        store.renew(&key, &grant, TTL / 1000).await.unwrap();
        store.complete(&key, &grant, &value("paid")).await.unwrap();
    }
    drop(store);
    quiet.counted("1").await;
    let count = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
        WHERE relname = 'idempotency_record'";
    let [updates, in_place] = quiet.counters(count).await;
    assert_eq!(updates, 1_000);
    assert!(in_place > 950, "{in_place} of {updates} in place");
}

/// Planned on an empty table, where every way to a row looks as cheap, and kept to.
#[tokio::test]
async fn operations_find_their_row_by_its_key_alone() {
    let quiet = Quiet::start();
    let scans = async || -> [i64; 2] {
        quiet.counted("1").await;
        let count = "SELECT (SELECT sum(seq_scan)::bigint FROM pg_stat_user_tables
                              WHERE relname LIKE 'idempotency_record%'),
                            (SELECT idx_scan FROM pg_stat_user_indexes
                              WHERE indexrelname = 'idempotency_record_expiry')";
        quiet.counters(count).await
    };
    // To create an index is to scan its table.
    drop(quiet.connect().await);
    let before = scans().await;
    let store = quiet.connect().await;
    for number in 0..100 {
        let key = key(&number.to_string());
        let first = grant(&store, &key).await;
        store.renew(&key, &first, LEASE).await.unwrap();
        store
            .record_step(&key, &first, &step("charge"), LEASE)
            .await
            .unwrap();
        let release = Release::new(Ending::Error, ReleaseMode::Free);
        store.release(&key, &first.holder(), release).await.unwrap();
        call(&store, &key).await;
        duplicate(&store, &key).await;
    }
    drop(store);
    assert_eq!(scans().await, before);
}
