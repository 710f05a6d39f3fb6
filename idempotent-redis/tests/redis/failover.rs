//! Sentinel, and a master that goes away.

use std::time::Duration;

use idempotent_core::protocol::{Claim, Update};
use idempotent_core::{Store, StoreError};
use idempotent_redis::ConnectOptions;
use idempotent_redis::redis::IntoConnectionInfo;
use idempotent_redis::redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use idempotent_testkit::server::RedisServer;
use tokio::time::{sleep, timeout};

use crate::support::{granted, key, request, value};

/// Waits until `done` says so.
async fn until(mut done: impl AsyncFnMut() -> bool) {
    let waited = timeout(Duration::from_secs(20), async {
        while !done().await {
            sleep(Duration::from_millis(50)).await;
        }
    });
    waited.await.expect("it takes too long");
}

#[tokio::test]
async fn the_store_goes_along_with_a_failover() {
    let mut master = RedisServer::builder().tcp().start().unwrap();
    let port = master.port().unwrap().to_string();
    let replica = RedisServer::builder()
        .tcp()
        .arg("--replicaof", &format!("127.0.0.1 {port}"));
    let replica = replica.start().unwrap();
    let says = |server: &RedisServer, what: &str| {
        server
            .ask(&["INFO", "replication"])
            .is_ok_and(|info| info.contains(what))
    };
    until(async || says(&replica, "master_link_status:up")).await;
    let sentinel = RedisServer::sentinel("payments", &master).unwrap();
    until(async || {
        sentinel
            .ask(&["SENTINEL", "REPLICAS", "payments"])
            .is_ok_and(|it| !it.is_empty())
    })
    .await;

    let address = sentinel
        .url()
        .into_connection_info()
        .unwrap()
        .addr()
        .clone();
    let client = SentinelClientBuilder::new([address], "payments", SentinelServerType::Master);
    let client = client.unwrap().build().unwrap();
    let options = ConnectOptions::new().with_response_timeout(Duration::from_millis(500));
    let store = options.connect_sentinel(client).await.unwrap();
    assert_eq!(store.server().await.unwrap().replicas, 1);

    let (done, running) = (key("done"), key("running"));
    let grant = granted(store.claim(&done, &request()).await.unwrap());
    store
        .complete(&done, &grant, &value(b"paid"))
        .await
        .unwrap();
    let grant = granted(store.claim(&running, &request()).await.unwrap());
    let mut watch = store.watch(&running).await.unwrap();
    until(async || replica.ask(&["DBSIZE"]).is_ok_and(|keys| keys == "2")).await;

    master.kill().unwrap();
    until(
        async || match store.complete(&running, &grant, &value(b"paid")).await {
            Ok(update) => {
                assert!(
                    matches!(update, Update::Applied | Update::Repeated),
                    "{update:?}"
                );
                true
            }
            Err(error) => {
                assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
                false
            }
        },
    )
    .await;
    assert!(matches!(
        store.claim(&done, &request()).await.unwrap(),
        Claim::Done(_)
    ));
    let woken = timeout(Duration::from_secs(10), watch.changed()).await;
    assert!(woken.is_ok(), "the notifications went along too");
}
