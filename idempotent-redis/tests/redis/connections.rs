//! Connections that break at the worst moment, and servers that come back.

use std::time::Duration;

use idempotent_core::protocol::{Claim, ClaimRequest, Update};
use idempotent_core::{Fingerprint, Inspect, Owner, Store, StoreError, Timestamp};
use idempotent_redis::{ConnectOptions, RedisStore};
use idempotent_testkit::server::{Cut, Proxy, RedisServer};
use tokio::time::{Instant, sleep};

use crate::support::{LEASE, World, command, granted, key, redis_key, request, value};

/// A store whose connection leads through a proxy.
async fn through_proxy(world: &World) -> (Proxy, RedisStore) {
    let proxy = Proxy::start(world.server.endpoint().unwrap())
        .await
        .unwrap();
    let store = RedisStore::connect(format!("redis://{}/", proxy.address()))
        .await
        .unwrap();
    // The clocks are compared once, and the server knows the scripts.
    let key = key("warm-up");
    let grant = granted(store.claim(&key, &request()).await.unwrap());
    store.claim(&key, &request()).await.unwrap();
    store.complete(&key, &grant, &value(b"paid")).await.unwrap();
    (proxy, store)
}

fn is_unavailable<T: std::fmt::Debug>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Unavailable(_)))
}

#[tokio::test]
async fn a_claim_whose_reply_was_lost_is_recognised() {
    let world = World::start().await;
    let (proxy, store) = through_proxy(&world).await;
    // Nothing, and half, of the reply `$-1`.
    for after in [0, 2] {
        let (key, request) = (key(&after.to_string()), request());
        proxy.cut(Cut::Reply { after });
        let answer = store.claim(&key, &request).await;
        assert!(is_unavailable(&answer), "{answer:?}");
        assert!(proxy.has_cut());
        let first = world.store.get(&key).await.unwrap().unwrap();

        let grant = granted(store.claim(&key, &request).await.unwrap());
        assert_eq!((grant.attempt, grant.fence), (1, first.fence));
        let claim = store.claim(&key, &crate::support::request()).await.unwrap();
        assert!(matches!(claim, Claim::Busy { .. }), "{claim:?}");
    }
}

#[tokio::test]
async fn a_completion_whose_reply_was_lost_is_recognised() {
    let world = World::start().await;
    let (proxy, store) = through_proxy(&world).await;
    // Nothing, and half, of the reply `$1 K`.
    for after in [0, 5] {
        let key = key(&after.to_string());
        let grant = granted(store.claim(&key, &request()).await.unwrap());
        proxy.cut(Cut::Reply { after });
        let answer = store.complete(&key, &grant, &value(b"paid")).await;
        assert!(is_unavailable(&answer), "{answer:?}");

        let update = store.complete(&key, &grant, &value(b"paid")).await.unwrap();
        assert_eq!(update, Update::Repeated);
    }
}

#[tokio::test]
async fn a_request_that_was_cut_is_not_carried_out() {
    let world = World::start().await;
    let (proxy, store) = through_proxy(&world).await;
    let key = key("order");
    proxy.cut(Cut::Request { after: 60 });
    assert!(is_unavailable(&store.claim(&key, &request()).await));
    assert_eq!(world.store.get(&key).await.unwrap(), None);
    granted(store.claim(&key, &request()).await.unwrap());
}

#[tokio::test]
async fn one_lost_connection_costs_one_call() {
    let world = World::start().await;
    let (proxy, store) = through_proxy(&world).await;
    for round in 0..5 {
        proxy.disconnect();
        sleep(Duration::from_millis(20)).await;
        _ = store.claim(&key("lost"), &request()).await;
        granted(
            store
                .claim(&key(&round.to_string()), &request())
                .await
                .unwrap(),
        );
    }
}

#[tokio::test]
async fn a_server_that_was_killed_and_started_again_is_found() {
    let builder = RedisServer::builder()
        .arg("--appendonly", "yes")
        .arg("--appendfsync", "always");
    let mut world = World::on(builder.start().unwrap()).await;
    let key = key("order");
    let grant = world.grant(&key, &request()).await;

    world.server.kill().unwrap();
    assert!(is_unavailable(
        &world.store.renew(&key, &grant, LEASE).await
    ));
    assert!(is_unavailable(&world.store.claim(&key, &request()).await));

    world.server.restart().unwrap();
    let started = Instant::now();
    let update = loop {
        match world.store.complete(&key, &grant, &value(b"paid")).await {
            Ok(update) => break update,
            Err(error) => assert!(error.is_transient(), "{error:?}"),
        }
        assert!(started.elapsed() < Duration::from_secs(10));
        sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(update, Update::Applied, "the record was kept");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_waited_for() {
    let world = World::start().await;
    let options = ConnectOptions::new().with_response_timeout(Duration::from_millis(200));
    let store = options.connect(world.server.url()).await.unwrap();
    let (key, request) = (key("order"), request());
    granted(
        store
            .claim(&crate::support::key("warm-up"), &request)
            .await
            .unwrap(),
    );

    world.server.pause().unwrap();
    let started = Instant::now();
    let answer = store.claim(&key, &request).await;
    assert!(is_unavailable(&answer), "{answer:?}");
    assert!(started.elapsed() < Duration::from_secs(2));

    // The server goes on, and carries out what it was sent.
    world.server.resume().unwrap();
    assert_eq!(
        granted(store.claim(&key, &request).await.unwrap()).attempt,
        1
    );
}

#[tokio::test]
async fn no_server_is_an_error_at_once() {
    let options = ConnectOptions::new().with_connection_timeout(Duration::from_millis(200));
    let answer = options.connect("redis://127.0.0.1:1/").await;
    assert!(is_unavailable(&answer), "{answer:?}");
}

/// C2: while the claim was under way, another life of the key may have come and gone.
#[tokio::test]
async fn a_late_claim_gets_a_fence_of_the_time_it_arrived() {
    let world = World::start().await;
    let (proxy, store) = through_proxy(&world).await;
    let fingerprint = Fingerprint::of("3 apples").unwrap();
    let ttl = Duration::from_millis(400);
    let request = ClaimRequest::new(Owner::random().unwrap(), fingerprint, LEASE, ttl);

    let before = now(&world).await;
    granted(store.claim(&key("in time"), &request).await.unwrap());
    proxy.delay_requests(Duration::from_millis(300));
    let late = granted(store.claim(&key("late"), &request).await.unwrap());
    assert!(
        late.fence.granted_at() > before.plus(Duration::from_millis(300)),
        "{late:?}"
    );
    assert_eq!(late.attempt, 1);
    let update = store
        .complete(&key("late"), &late, &value(b"paid"))
        .await
        .unwrap();
    assert_eq!(update, Update::Applied);
}

/// The record that the first command saw may be gone when the second looks.
#[tokio::test]
async fn a_record_that_goes_while_it_is_looked_at_is_claimed_as_new() {
    let world = World::start().await;
    let (proxy, store) = through_proxy(&world).await;
    let key = key("order");
    world.grant(&key, &request()).await;

    let before = now(&world).await;
    proxy.delay_replies(Duration::from_millis(200));
    let claim = tokio::spawn({
        let (store, key) = (store.clone(), key.clone());
        async move { store.claim(&key, &request()).await.unwrap() }
    });
    sleep(Duration::from_millis(100)).await;
    () = world.ask(command(&["DEL"]).arg(redis_key(&key))).await;
    let grant = granted(claim.await.unwrap());
    assert_eq!(grant.attempt, 1);
    assert!(
        grant.fence.granted_at() > before.plus(Duration::from_millis(190)),
        "{grant:?}"
    );
    assert_eq!(
        store.renew(&key, &grant, LEASE).await.unwrap(),
        Update::Applied
    );
}

/// C10: the record that was absent for the first command may be there for the second.
#[tokio::test]
async fn what_was_claimed_meanwhile_is_not_healed_over() {
    let world = World::start().await;
    let (proxy, store) = through_proxy(&world).await;
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    () = world.ask(command(&["DEL"]).arg(redis_key(&key))).await;

    proxy.delay_replies(Duration::from_millis(200));
    let completion = tokio::spawn({
        let (store, key) = (store.clone(), key.clone());
        async move { store.complete(&key, &grant, &value(b"late")).await.unwrap() }
    });
    sleep(Duration::from_millis(100)).await;
    let next = world.grant(&key, &request()).await;
    let Update::Lost(Some(found)) = completion.await.unwrap() else {
        panic!("not lost")
    };
    assert_eq!(found.fence, next.fence);
    assert_eq!(world.store.get(&key).await.unwrap().unwrap().late, 1);
}

async fn now(world: &World) -> Timestamp {
    let (seconds, micros): (u64, u64) = world.ask(&command(&["TIME"])).await;
    Timestamp::from_micros(seconds * 1_000_000 + micros)
}
