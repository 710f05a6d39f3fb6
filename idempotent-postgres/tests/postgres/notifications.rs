//! Waiting callers are told of the end of the attempt that they wait for.

use std::time::Duration;

use idempotent_core::protocol::{Claim, Release, ReleaseMode, Update};
use idempotent_core::{Deletion, Ending, Inspect, Key, Store, StoreError, Watch};
use idempotent_postgres::PostgresStore;
use idempotent_testkit::server::PostgresServer;
use tokio::time::{sleep, timeout};

use crate::common::{World, grant, granted, key, request, value};

const SOON: Duration = Duration::from_secs(10);
const NOT: Duration = Duration::from_millis(200);

/// Whether there is a message soon.
async fn is_told(watch: &mut Watch) -> bool {
    timeout(SOON, watch.changed()).await.is_ok()
}

/// Claims a key that is held, and asks to be told.
async fn wait(store: &PostgresStore, key: &Key) {
    let mut request = request();
    request.wait = true;
    let claim = store.claim(key, &request).await.unwrap();
    assert!(matches!(claim, Claim::Busy { .. }), "{claim:?}");
}

/// Ends the connection that listens.
async fn cut(world: &World) {
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'
        AND application_name = 'idempotent-postgres'";
    assert_eq!(world.sql(cut, &[]).await.len(), 1);
}

#[tokio::test]
async fn each_end_of_an_attempt_wakes_the_waiters() {
    let world = World::on_any();
    // Two processes, as far as the server can tell.
    let (store, owner) = (world.connect().await, world.connect().await);
    for (name, mode) in [
        ("completed", None),
        ("released", Some(ReleaseMode::Free)),
        ("held", Some(ReleaseMode::Hold)),
    ] {
        let key = key(name);
        let grant = grant(&owner, &key).await;
        let mut watch = store.watch(&key).await.unwrap();
        wait(&store, &key).await;
        assert!(timeout(NOT, watch.changed()).await.is_err(), "not yet");
        let update = match mode {
            None => owner.complete(&key, &grant, &value("paid")).await,
            Some(mode) => {
                let release = Release::new(Ending::Error, mode);
                owner.release(&key, &grant.holder(), release).await
            }
        };
        assert_eq!(update.unwrap(), Update::Applied);
        assert!(is_told(&mut watch).await, "{name}");
    }
}

#[tokio::test]
async fn a_doubt_and_a_deletion_wake_the_waiters() {
    let world = World::on_any();
    let store = world.connect().await;
    let key = key("order");
    let mut once = request();
    once.at_most_once = true;
    granted(store.claim(&key, &once).await.unwrap());
    let mut watch = store.watch(&key).await.unwrap();
    wait(&store, &key).await;
    world.lapse(&key).await;
    let claim = store.claim(&key, &request()).await.unwrap();
    assert!(matches!(claim, Claim::InDoubt(_)), "{claim:?}");
    assert!(is_told(&mut watch).await);

    let key = crate::common::key("deleted");
    grant(&store, &key).await;
    let mut watch = store.watch(&key).await.unwrap();
    wait(&store, &key).await;
    world.lapse(&key).await;
    assert_eq!(store.delete(&key).await.unwrap(), Deletion::Deleted);
    assert!(is_told(&mut watch).await);
}

/// The message comes with the change or not at all, and says nothing about the key.
#[tokio::test]
async fn only_who_waits_is_told_and_only_a_digest() {
    use std::future::poll_fn;

    use idempotent_postgres::tokio_postgres::{AsyncMessage, NoTls, connect};

    let world = World::on_any();
    let store = world.connect().await;
    let (client, mut connection) = connect(world.server.url(), NoTls).await.unwrap();
    let listening = tokio::spawn(async move {
        let mut payloads = Vec::new();
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(notification) = message {
                payloads.push(notification.payload().to_owned());
            }
        }
        payloads
    });
    // The channel of the table with the default name.
    store.watch(&key("any")).await.unwrap();
    let listens = "SELECT query FROM pg_stat_activity WHERE query LIKE 'LISTEN%'
        AND application_name = 'idempotent-postgres'";
    let listen: String = world.sql(listens, &[]).await[0].get(0);
    client.batch_execute(&listen).await.unwrap();

    for value in ["alone", "awaited"] {
        let key = key(value);
        let grant = grant(&store, &key).await;
        if value == "awaited" {
            wait(&store, &key).await;
        }
        store
            .complete(&key, &grant, &crate::common::value("paid"))
            .await
            .unwrap();
    }
    // What was sent before an answer comes before it.
    client.batch_execute("SELECT 1").await.unwrap();
    drop(client);
    let payloads = listening.await.unwrap();
    assert_eq!(payloads.len(), 1, "{payloads:?}");
    assert!(payloads[0].bytes().all(|byte| byte.is_ascii_hexdigit()));
}

#[tokio::test]
async fn a_lost_connection_wakes_everybody_and_is_made_again() {
    let world = World::on(PostgresServer::start().unwrap());
    let store = world.connect().await;
    let key = key("order");
    let grant = grant(&store, &key).await;
    let mut watch = store.watch(&key).await.unwrap();
    for _ in 0..3 {
        cut(&world).await;
        assert!(is_told(&mut watch).await, "a message may have been missed");
    }
    wait(&store, &key).await;
    store.complete(&key, &grant, &value("paid")).await.unwrap();
    assert!(is_told(&mut watch).await, "it listens again");
}

#[tokio::test]
async fn without_a_server_watching_fails_and_works_again_later() {
    let mut world = World::on(PostgresServer::start().unwrap());
    let options = world.options().response_timeout(Duration::from_millis(500));
    let store = options.connect(world.server.url()).await.unwrap();
    let key = key("order");
    drop(store.watch(&key).await.unwrap());
    world.server.kill().unwrap();
    sleep(NOT).await;
    let error = store.watch(&key).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");

    world.server.restart().unwrap();
    let watch = async {
        loop {
            if let Ok(watch) = store.watch(&key).await {
                return watch;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, watch).await.unwrap();
}

/// A waiter looks for itself where nobody can listen, and is not held up by the tries to connect.
#[tokio::test]
async fn a_server_that_takes_no_connection_holds_up_no_waiter() {
    let world = World::on(PostgresServer::start().unwrap());
    let store = world.options().connections(1);
    let store = store.connect(world.server.url()).await.unwrap();
    let key = key("order");
    let grant = grant(&store, &key).await;
    drop(store.watch(&key).await.unwrap());
    let client = world.client().await;
    let refuse = "UPDATE pg_database SET datallowconn = false;
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
    client.batch_execute(refuse).await.unwrap();

    let refused = async {
        while store.watch(&key).await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, refused).await.unwrap();
    let told = timeout(Duration::from_secs(1), store.watch(&key)).await;
    let error = told.expect("nobody waits for the next try").unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    // The other connection is there.
    store.complete(&key, &grant, &value("paid")).await.unwrap();

    client
        .batch_execute("UPDATE pg_database SET datallowconn = true")
        .await
        .unwrap();
    let heard = async {
        while store.watch(&key).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, heard).await.unwrap();
}

/// As with one runtime for each test.
#[test]
fn a_store_outlives_the_runtime_that_listened_for_it() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let first = runtime();
    let world = World::on_any();
    let store = first.block_on(world.connect());
    let key = key("order");
    first.block_on(async {
        store.watch(&key).await.unwrap();
        grant(&store, &key).await;
    });
    drop(first);
    runtime().block_on(async {
        let other = crate::common::key("other");
        let mut watch = store.watch(&other).await.unwrap();
        let grant = grant(&store, &other).await;
        wait(&store, &other).await;
        store
            .complete(&other, &grant, &value("paid"))
            .await
            .unwrap();
        assert!(is_told(&mut watch).await);
    });
}

/// A store that nobody has any more keeps no connection.
#[tokio::test]
async fn the_last_handle_takes_the_connections_along() {
    let world = World::on(PostgresServer::start().unwrap());
    let store = world.connect().await;
    store.watch(&key("order")).await.unwrap();
    grant(&store, &key("order")).await;
    drop(store);
    let count = "SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'idempotent-postgres'";
    let gone = async {
        while world.server.ask(count).unwrap() != "0" {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, gone).await.unwrap();
}
