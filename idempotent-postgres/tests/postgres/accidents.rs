//! Servers that die, stop and refuse, and connections that are cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use idempotent_core::protocol::{Claim, Update};
use idempotent_core::{Engine, Error, Inspect, State, Store, StoreError};
use idempotent_testkit::server::{PostgresServer, Proxy};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::common::{LEASE, World, grant, key, request, value};

const SOON: Duration = Duration::from_secs(15);

/// Nobody is given an error, nothing runs twice within its lease, and each answer is the right one.
#[tokio::test(flavor = "multi_thread")]
async fn calls_go_on_while_their_connections_are_cut() {
    let world = World::on(PostgresServer::start().unwrap());
    let engine = Engine::new(world.connect().await);
    let done = Arc::new(AtomicBool::new(false));
    let mut calls = JoinSet::new();
    for caller in 0..8 {
        let engine = engine.clone();
        calls.spawn(async move {
            for number in 0..60 {
                let key = format!("{caller}-{number}");
                for _ in 0..2 {
                    let charge = engine.operation("payments.charge").key(&key);
                    let body = async {
                        sleep(Duration::from_millis(3)).await;
                        Ok::<_, Error>(key.clone())
                    };
                    let answer = charge.run(body).await;
                    assert_eq!(answer.unwrap(), key);
                }
            }
        });
    }
    let cutting = {
        let (done, client) = (Arc::clone(&done), world.client().await);
        tokio::spawn(async move {
            let mut cuts = 0;
            while !done.load(Ordering::Relaxed) {
                // Those in use. A server that ends each connection before its first statement is one
                // that cannot be reached, and a call that has tried for long enough says so.
                let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE application_name = 'idempotent-postgres' AND query LIKE '%fingerprint%'
                    ORDER BY random() LIMIT 1";
                cuts += client.query(cut, &[]).await.unwrap().len();
                sleep(Duration::from_millis(20)).await;
            }
            cuts
        })
    };
    calls.join_all().await;
    done.store(true, Ordering::Relaxed);
    let cuts = cutting.await.unwrap();
    println!("{cuts} connections were cut");
    assert!(cuts > 5, "{cuts}");
}

/// What was answered is there after a crash, and what has begun can be finished.
#[tokio::test]
async fn a_killed_server_remembers_what_it_has_answered() {
    let server = PostgresServer::builder().durable().start().unwrap();
    let mut world = World::on(server);
    let store = world.connect().await;
    let (done, begun) = (key("done"), key("begun"));
    let first = grant(&store, &done).await;
    store.complete(&done, &first, &value("paid")).await.unwrap();
    let second = grant(&store, &begun).await;

    world.server.kill().unwrap();
    let error = store.claim(&done, &request()).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    world.server.restart().unwrap();

    let back = async {
        loop {
            match store.claim(&done, &request()).await {
                Ok(claim) => return claim,
                Err(error) => assert!(error.is_transient(), "{error:?}"),
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let claim = timeout(SOON, back).await.unwrap();
    assert!(matches!(claim, Claim::Done(_)), "{claim:?}");
    // Any of the connections may have to be made anew.
    let update = store.renew(&begun, &second, LEASE).await.unwrap();
    assert_eq!(update, Update::Applied);
    let update = store.complete(&begun, &second, &value("paid")).await;
    assert_eq!(update.unwrap(), Update::Applied);
}

#[tokio::test]
async fn a_server_that_stands_still_is_unavailable_and_recovers() {
    let world = World::on(PostgresServer::start().unwrap());
    let patience = Duration::from_millis(300);
    let options = world.options().response_timeout(patience);
    let options = options.connection_timeout(patience);
    let store = options.connect(world.server.url()).await.unwrap();
    let key = key("order");
    let grant = grant(&store, &key).await;

    world.server.pause().unwrap();
    let begin = Instant::now();
    let error = store.renew(&key, &grant, LEASE).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(2));
    world.server.resume().unwrap();

    let recovered = async {
        while store.renew(&key, &grant, LEASE).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, recovered).await.unwrap();
}

/// However often it was tried in vain before, nobody is told so for longer than a call has patience.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_begins_when_the_server_is_back_gets_through() {
    let world = World::on(PostgresServer::start().unwrap());
    let proxy = Proxy::start(world.server.endpoint().unwrap())
        .await
        .unwrap();
    let url = format!("postgres://postgres@{}/postgres", proxy.address());
    let mut stores = Vec::new();
    for _ in 0..8 {
        let options = world.options().connections(1);
        stores.push(options.connect(&url).await.unwrap());
    }

    proxy.refuse();
    let mut tries = JoinSet::new();
    for store in stores.clone() {
        tries.spawn(async move {
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_secs(2) {
                let error = store.claim(&key("order"), &request()).await.unwrap_err();
                assert!(error.is_transient(), "{error:?}");
                sleep(Duration::from_millis(5)).await;
            }
        });
    }
    tries.join_all().await;
    proxy.accept();

    let mut calls = JoinSet::new();
    for (number, store) in stores.into_iter().enumerate() {
        let engine = Engine::new(store);
        calls.spawn(async move {
            let charge = engine.operation("payments.charge").key(number);
            charge
                .run(async { Ok::<_, Error>("paid".to_owned()) })
                .await
        });
    }
    for answer in calls.join_all().await {
        assert_eq!(answer.unwrap(), "paid");
    }
}

/// As of a long transaction that claims the key: one statement fails, and those that share its
/// connection do not.
#[tokio::test]
async fn a_lock_is_not_waited_for_long() {
    let world = World::on_any();
    let options = world.options().response_timeout(Duration::from_secs(1));
    let store = options
        .connections(1)
        .connect(world.server.url())
        .await
        .unwrap();
    let key = key("order");
    let grant = grant(&store, &key).await;
    let holder = world.client().await;
    holder
        .batch_execute("BEGIN; SELECT FROM idempotency_record FOR UPDATE")
        .await
        .unwrap();

    let other = crate::common::key("other");
    let (locked, free) = tokio::join!(store.renew(&key, &grant, LEASE), async {
        sleep(Duration::from_millis(50)).await;
        store.claim(&other, &request()).await
    });
    let error = locked.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(matches!(free.unwrap(), Claim::Granted(_)));

    holder.batch_execute("ROLLBACK").await.unwrap();
    let update = store.renew(&key, &grant, LEASE).await.unwrap();
    assert_eq!(update, Update::Applied);
}

/// T23: a promise of a standby would be worth nothing.
#[tokio::test]
async fn a_standby_is_refused() {
    let mut world = World::on(PostgresServer::start().unwrap());
    let store = world.connect().await;
    // The server's working directory is that of its files.
    world
        .server
        .ask("COPY (SELECT '') TO PROGRAM 'cat > standby.signal'; CHECKPOINT")
        .unwrap();
    world.server.restart().unwrap();
    assert_eq!(world.server.ask("SELECT pg_is_in_recovery()").unwrap(), "t");

    let error = world
        .options()
        .connect(world.server.url())
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Misconfigured(_)), "{error:?}");
    // For one that is connected it is a failover, which is over one day.
    let error = store.claim(&key("order"), &request()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");

    world.server.ask("SELECT pg_promote()").unwrap();
    let back = async {
        while store.claim(&key("order"), &request()).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(SOON, back).await.unwrap();
}

/// A table that somebody alters under a prepared statement costs one answer, not all of them.
#[tokio::test]
async fn a_changed_table_is_noticed() {
    let world = World::on_any();
    let store = world.options().connections(1);
    let store = store.connect(world.server.url()).await.unwrap();
    let key = key("order");
    grant(&store, &key).await;
    store.claim(&key, &request()).await.unwrap();
    let alter = "ALTER TABLE idempotency_record ALTER COLUMN previous TYPE varchar";
    world.client().await.batch_execute(alter).await.unwrap();
    _ = store.claim(&key, &request()).await;
    let claim = store.claim(&key, &request()).await.unwrap();
    assert!(matches!(claim, Claim::Busy { .. }), "{claim:?}");
}

/// Whoever goes away in the middle of a call leaves nothing behind that later calls stumble over.
#[tokio::test]
async fn a_dropped_call_harms_no_other() {
    let world = World::on_any();
    let store = world.options().connections(1);
    let store = store.connect(world.server.url()).await.unwrap();
    for number in 0..200_u64 {
        let key = key(&number.to_string());
        let patience = Duration::from_micros(number * 10);
        _ = timeout(patience, store.claim(&key, &request())).await;
    }
    let key = key("order");
    let grant = grant(&store, &key).await;
    store.complete(&key, &grant, &value("paid")).await.unwrap();
    let record = store.get(&key).await.unwrap().unwrap();
    assert_eq!(record.state, State::Completed);
}
