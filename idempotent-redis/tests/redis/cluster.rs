//! A cluster of three nodes.

use std::time::Duration;

use idempotent_core::protocol::{Claim, Release, ReleaseMode, StepReply, Update};
use idempotent_core::{Deletion, Ending, Inspect, Key, Query, State, Step, Store};
use idempotent_redis::RedisStore;
use idempotent_redis::redis::cluster_async::ClusterConnection;
use idempotent_testkit::server::RedisCluster;
use tokio::time::timeout;

use crate::support::{LEASE, granted, key, redis_key, request, value};

const KEYS: usize = 60;

async fn start() -> (RedisCluster, RedisStore<ClusterConnection>) {
    let cluster = RedisCluster::start(3).unwrap();
    let store = RedisStore::connect_cluster(cluster.urls()).await.unwrap();
    (cluster, store)
}

fn keys() -> impl Iterator<Item = Key> {
    (0..KEYS).map(|number| key(&number.to_string()))
}

#[tokio::test]
async fn every_node_keeps_its_records() {
    let (cluster, store) = start().await;
    for key in keys() {
        let first = request();
        let grant = granted(store.claim(&key, &first).await.unwrap());
        assert!(matches!(
            store.claim(&key, &request()).await.unwrap(),
            Claim::Busy { .. }
        ));
        assert_eq!(granted(store.claim(&key, &first).await.unwrap()), grant);
        assert_eq!(
            store.renew(&key, &grant, LEASE).await.unwrap(),
            Update::Applied
        );
        let step = Step {
            name: "charge".into(),
            value: "ch_1".into(),
        };
        let reply = store.record_step(&key, &grant, &step, LEASE).await.unwrap();
        assert_eq!(reply, StepReply::Recorded);
        let release = Release::new(Ending::Error, ReleaseMode::Free);
        let update = store.release(&key, &grant.holder(), release).await.unwrap();
        assert_eq!(update, Update::Applied);
        let next = granted(store.claim(&key, &request()).await.unwrap());
        assert_eq!((next.attempt, &next.steps[..]), (2, &[step][..]));
        assert_eq!(
            store.complete(&key, &next, &value(b"paid")).await.unwrap(),
            Update::Applied
        );
        assert!(matches!(
            store.claim(&key, &request()).await.unwrap(),
            Claim::Done(_)
        ));
    }
    for node in cluster.nodes() {
        assert_ne!(
            node.ask(&["DBSIZE"]).unwrap(),
            "0",
            "each node has its share"
        );
    }
}

#[tokio::test]
async fn lists_go_through_all_nodes() {
    let (_cluster, store) = start().await;
    for key in keys() {
        store.claim(&key, &request()).await.unwrap();
    }
    let mut query = Query::all().with_state(State::InProgress).with_limit(7);
    let mut found = Vec::new();
    loop {
        let page = store.list(&query).await.unwrap();
        assert!(page.entries.len() <= 7);
        found.extend(page.entries.iter().map(|entry| entry.key.clone()));
        match query.next(&page) {
            Some(next) => query = next,
            None => break,
        }
    }
    found.sort_unstable();
    let mut expected: Vec<_> = keys().collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(store.statistics().await.unwrap().in_progress, KEYS as u64);
    assert_eq!(
        store.delete(&expected[0]).await.unwrap(),
        Deletion::InProgress
    );
}

#[tokio::test]
async fn waiters_hear_from_every_node() {
    let (cluster, store) = start().await;
    let owner = RedisStore::connect_cluster(cluster.urls()).await.unwrap();
    for key in keys() {
        let grant = granted(owner.claim(&key, &request()).await.unwrap());
        let mut watch = store.watch(&key).await.unwrap();
        let mut waiting = request();
        waiting.wait = true;
        store.claim(&key, &waiting).await.unwrap();
        owner.complete(&key, &grant, &value(b"paid")).await.unwrap();
        let told = timeout(Duration::from_secs(5), watch.changed()).await;
        assert!(told.is_ok(), "{} was not told", redis_key(&key));
    }
}

#[tokio::test]
async fn the_cluster_says_what_its_nodes_promise() {
    let (cluster, store) = start().await;
    let said = store.server().await.unwrap();
    said.check().unwrap();

    let node = &cluster.nodes()[1];
    node.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"])
        .unwrap();
    node.ask(&["CONFIG", "SET", "maxmemory", "1gb"]).unwrap();
    store.server().await.unwrap().check().unwrap_err();
}
