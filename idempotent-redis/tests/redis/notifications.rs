//! Waiting callers are told of the end of the attempt that they wait for.

use std::time::Duration;

use futures_util::StreamExt;
use idempotent_core::protocol::{Claim, Release, ReleaseMode, Update};
use idempotent_core::{Ending, Inspect, Key, Store, StoreError, Watch};
use idempotent_redis::RedisStore;
use idempotent_redis::redis::Client;
use tokio::time::{sleep, timeout};

use crate::support::{World, key, redis_key, request, value};

const SOON: Duration = Duration::from_secs(5);
const NOT: Duration = Duration::from_millis(200);

/// Whether there is a message soon.
async fn is_told(watch: &mut Watch) -> bool {
    timeout(SOON, watch.changed()).await.is_ok()
}

impl World {
    /// Claims a key that is held, and asks to be told.
    async fn wait(&self, key: &Key) {
        let mut request = request();
        request.wait = true;
        let claim = self.store.claim(key, &request).await.unwrap();
        assert!(matches!(claim, Claim::Busy { .. }), "{claim:?}");
    }
}

#[tokio::test]
async fn each_end_of_an_attempt_wakes_the_waiters() {
    let world = World::start().await;
    // Another process, as far as the server can tell.
    let owner = RedisStore::connect(world.server.url()).await.unwrap();
    for (name, mode) in [
        ("completed", None),
        ("released", Some(ReleaseMode::Free)),
        ("held", Some(ReleaseMode::Hold)),
    ] {
        let key = key(name);
        let grant = world.grant(&key, &request()).await;
        let mut watch = world.store.watch(&key).await.unwrap();
        world.wait(&key).await;
        assert!(
            timeout(NOT, watch.changed()).await.is_err(),
            "nothing has happened yet"
        );
        let update = match mode {
            None => owner.complete(&key, &grant, &value(b"paid")).await,
            Some(mode) => {
                owner
                    .release(&key, &grant.holder(), Release::new(Ending::Error, mode))
                    .await
            }
        };
        assert_eq!(update.unwrap(), Update::Applied);
        assert!(is_told(&mut watch).await, "{name}");
    }
}

#[tokio::test]
async fn a_doubt_wakes_the_waiters() {
    let world = World::start().await;
    let key = key("order");
    let mut once = request();
    once.at_most_once = true;
    world.grant(&key, &once).await;
    let mut watch = world.store.watch(&key).await.unwrap();
    world.wait(&key).await;
    world.lapse(&key).await;
    let claim = world.store.claim(&key, &request()).await.unwrap();
    assert!(matches!(claim, Claim::InDoubt(_)), "{claim:?}");
    assert!(is_told(&mut watch).await);
    assert!(!world.store.get(&key).await.unwrap().unwrap().waiter);
}

#[tokio::test]
async fn a_subscription_is_in_force_when_it_is_returned() {
    let world = World::start().await;
    for round in 0..200 {
        let key = key(&round.to_string());
        let grant = world.grant(&key, &request()).await;
        world.wait(&key).await;
        let mut watch = world.store.watch(&key).await.unwrap();
        world
            .store
            .complete(&key, &grant, &value(b"paid"))
            .await
            .unwrap();
        assert!(is_told(&mut watch).await);
    }
}

#[tokio::test]
async fn nobody_is_told_unless_somebody_waits() {
    let world = World::start().await;
    let client = Client::open(world.server.url()).unwrap();
    let mut listener = client.get_async_pubsub().await.unwrap();
    let keys = [key("alone"), key("awaited")];
    listener
        .subscribe(&keys.each_ref().map(redis_key)[..])
        .await
        .unwrap();
    let [alone, awaited] = &keys;
    let grants = [
        world.grant(alone, &request()).await,
        world.grant(awaited, &request()).await,
    ];
    world.wait(awaited).await;
    for (key, grant) in keys.iter().zip(&grants) {
        world
            .store
            .complete(key, grant, &value(b"paid"))
            .await
            .unwrap();
    }
    let mut messages = listener.on_message();
    let message = timeout(SOON, messages.next()).await.unwrap().unwrap();
    assert_eq!(message.get_channel_name(), redis_key(awaited));
    assert!(
        timeout(NOT, messages.next()).await.is_err(),
        "there is one message"
    );
}

#[tokio::test]
async fn waiters_of_one_key_share_a_subscription() {
    let world = World::start().await;
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let mut watches = Vec::new();
    for _ in 0..200 {
        watches.push(world.store.clone().watch(&key).await.unwrap());
    }
    let subscribers = world
        .server
        .ask(&["PUBSUB", "NUMSUB", &redis_key(&key)])
        .unwrap();
    assert_eq!(subscribers, format!("{}\n1\n", redis_key(&key)));

    world.wait(&key).await;
    world
        .store
        .complete(&key, &grant, &value(b"paid"))
        .await
        .unwrap();
    for watch in &mut watches {
        assert!(is_told(watch).await);
    }
}

#[tokio::test]
async fn a_lost_connection_wakes_everybody_and_is_made_again() {
    let world = World::start().await;
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let mut watch = world.store.watch(&key).await.unwrap();
    world
        .server
        .ask(&["CLIENT", "KILL", "TYPE", "pubsub"])
        .unwrap();
    assert!(is_told(&mut watch).await, "a message may have been missed");

    world.wait(&key).await;
    world
        .store
        .complete(&key, &grant, &value(b"paid"))
        .await
        .unwrap();
    assert!(
        is_told(&mut watch).await,
        "the subscription is in force again"
    );
}

#[tokio::test]
async fn without_a_server_watching_fails_and_works_again_later() {
    let mut world = World::start().await;
    let key = key("order");
    drop(world.store.watch(&key).await.unwrap());
    world.server.kill().unwrap();
    let other = crate::support::key("other");
    let error = world.store.watch(&other).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");

    world.server.restart().unwrap();
    let watch = async {
        loop {
            if let Ok(watch) = world.store.watch(&other).await {
                return watch;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON * 2, watch).await.unwrap();
}

/// As with one runtime for each test.
#[test]
fn a_store_outlives_the_runtime_that_read_for_it() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let first = runtime();
    let world = first.block_on(World::start());
    let key = key("order");
    first.block_on(async { world.store.watch(&key).await.unwrap() });
    drop(first);
    runtime().block_on(async {
        assert!(world.store.watch(&key).await.is_ok());
    });
}

#[tokio::test]
async fn a_store_on_a_bare_connection_leaves_its_callers_to_poll() {
    let world = World::start().await;
    let store = RedisStore::new(world.raw.clone());
    let key = key("order");
    let mut watch = store.watch(&key).await.unwrap();
    let grant = world.grant(&key, &request()).await;
    world.wait(&key).await;
    world
        .store
        .complete(&key, &grant, &value(b"paid"))
        .await
        .unwrap();
    assert!(timeout(NOT, watch.changed()).await.is_err());
}
