//! A store that answers once replicas have what was written.

use std::time::Duration;

use idempotent_core::protocol::{Claim, Release, ReleaseMode, Update};
use idempotent_core::{Ending, Store, StoreError};
use idempotent_redis::ConnectOptions;
use idempotent_testkit::server::{Proxy, RedisServer};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::{World, granted, key, request, value};

const PATIENCE: Duration = Duration::from_secs(2);

/// A server that waits for no second replica before it sends the first its data.
fn server() -> RedisServer {
    let builder = RedisServer::builder().tcp();
    builder
        .arg("--repl-diskless-sync-delay", "0")
        .start()
        .unwrap()
}

/// A replica of `server` that is up to date.
async fn replica_of(server: &RedisServer) -> RedisServer {
    let master = format!("127.0.0.1 {}", server.port().unwrap());
    let replica = RedisServer::builder()
        .arg("--replicaof", &master)
        .start()
        .unwrap();
    let linked = async {
        while !replica
            .ask(&["INFO", "replication"])
            .unwrap()
            .contains("master_link_status:up")
        {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), linked).await.unwrap();
    replica
}

/// A server with a replica that is up to date.
async fn start() -> (World, RedisServer) {
    let world = World::on(server()).await;
    let replica = replica_of(&world.server).await;
    let connection = ConnectOptions::new()
        .connection(world.server.url())
        .unwrap();
    let World { server, store, raw } = world;
    let store = store.with_replicas(connection, 1, PATIENCE);
    (World { server, store, raw }, replica)
}

#[tokio::test]
async fn a_write_is_acknowledged_once_a_replica_has_it() {
    let (world, replica) = start().await;
    let (held, key) = (key("held"), key("order"));
    let grant = world.grant(&key, &request()).await;
    let holding = world.grant(&held, &request()).await;

    replica.pause().unwrap();
    let late = request();
    let answers = [
        world
            .store
            .claim(&crate::support::key("new"), &late)
            .await
            .map(drop),
        world
            .store
            .complete(&key, &grant, &value(b"paid"))
            .await
            .map(drop),
        world
            .store
            .release(
                &held,
                &holding.holder(),
                Release::new(Ending::Error, ReleaseMode::Free),
            )
            .await
            .map(drop),
    ];
    for answer in answers {
        assert!(
            matches!(answer, Err(StoreError::Unavailable(_))),
            "{answer:?}"
        );
    }
    let claim = world.store.claim(&key, &request()).await.unwrap();
    assert!(
        matches!(claim, Claim::Done(_)),
        "nothing is written for a replay"
    );

    replica.resume().unwrap();
    granted(
        world
            .store
            .claim(&crate::support::key("new"), &late)
            .await
            .unwrap(),
    );
    let update = world
        .store
        .complete(&key, &grant, &value(b"paid"))
        .await
        .unwrap();
    assert_eq!(update, Update::Repeated);
    assert_eq!(replica.ask(&["DBSIZE"]).unwrap(), "3");
}

#[tokio::test]
async fn callers_at_the_same_time_share_a_question() {
    let (world, _replica) = start().await;
    world.grant(&key("warm-up"), &request()).await;
    world.server.reset_command_stats().unwrap();
    let mut claims = JoinSet::new();
    for number in 0..200 {
        let store = world.store.clone();
        claims.spawn(async move {
            granted(
                store
                    .claim(&key(&number.to_string()), &request())
                    .await
                    .unwrap(),
            );
        });
    }
    claims.join_all().await;
    let asked = world.server.command_stats().unwrap()["wait"].calls;
    assert!(asked < 100, "{asked} questions for 200 claims");
}

/// Two callers wait for the replica of a server when a failover takes the connection away on which
/// they do. What the replicas of the other server have says nothing about their writes.
#[tokio::test]
async fn another_server_confirms_nothing() {
    let (world, replica) = start().await;
    let other = server();
    let _others_replica = replica_of(&other).await;
    let address = Proxy::start(world.server.endpoint().unwrap())
        .await
        .unwrap();
    let url = format!("redis://{}/", address.address());
    let connection = ConnectOptions::new().connection(url).unwrap();
    let store = world.store.with_replicas(connection, 1, PATIENCE);

    replica.pause().unwrap();
    let mut claims = JoinSet::new();
    for value in ["first", "second"] {
        let store = store.clone();
        claims.spawn(async move { store.claim(&key(value), &request()).await });
    }
    while world.server.ask(&["DBSIZE"]).unwrap() != "2" {
        sleep(Duration::from_millis(5)).await;
    }
    sleep(Duration::from_millis(50)).await;
    address.redirect(other.endpoint().unwrap());
    for claim in claims.join_all().await {
        assert!(
            matches!(claim, Err(StoreError::Unavailable(_))),
            "{claim:?}"
        );
    }
}
