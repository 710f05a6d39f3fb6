//! What the operations cost the server.

use std::time::Duration;

use idempotent_core::protocol::{Claim, Update};
use idempotent_core::{Key, Store};
use idempotent_postgres::PostgresStore;
use idempotent_postgres::tokio_postgres::{NoTls, connect};
use idempotent_testkit::server::PostgresServer;
use tokio::time::sleep;

use crate::common::{TTL, grant, key, request, value};

/// A server where nothing writes but the store, which is in a database of its own.
struct Quiet {
    server: PostgresServer,
}

impl Quiet {
    fn start() -> Self {
        let server = PostgresServer::builder()
            .setting("autovacuum", "off")
            .setting("wal_level", "minimal")
            .setting("max_wal_senders", "0")
            .start()
            .unwrap();
        server.ask("CREATE DATABASE shop").unwrap();
        Self { server }
    }

    fn url(&self) -> String {
        let server = self.server.url().strip_suffix("/postgres").unwrap();
        format!("{server}/shop")
    }

    async fn connect(&self) -> PostgresStore {
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

    fn position(&self) -> (String, String) {
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
    let url = quiet.url();
    let (client, connection) = connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let row = client.query_one(count, &[]).await.unwrap();
    let (updates, in_place): (i64, i64) = (row.get(0), row.get(1));
    assert_eq!(updates, 1_000);
    assert!(in_place > 950, "{in_place} of {updates} in place");
}
