//! A store that answers once replicas have what was written.

use std::time::Duration;

use idempotent_core::protocol::{Claim, Release, ReleaseMode, Update};
use idempotent_core::{Ending, Store, StoreError};
use idempotent_redis::ConnectOptions;
use idempotent_testkit::server::RedisServer;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::{World, granted, key, request, value};

const PATIENCE: Duration = Duration::from_secs(2);

/// A server with a replica that is up to date.
async fn start() -> (World, RedisServer) {
    let world = World::on(RedisServer::builder().tcp().start().unwrap()).await;
    let master = format!("127.0.0.1 {}", world.server.port().unwrap());
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
