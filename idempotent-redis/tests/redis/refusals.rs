//! What the store refuses, and what refuses the store.

use std::time::Duration;

use idempotent_core::protocol::{Claim, Release, ReleaseMode, Update};
use idempotent_core::{Ending, Fence, Inspect, Key, Owner, Step, Store, StoreError};
use idempotent_redis::{ConnectOptions, Durability, RedisStore};
use idempotent_testkit::server::RedisServer;

use crate::support::{LEASE, World, command, key, redis_key, request, value};

/// Everything that can be asked about `key`.
async fn ask_everything(store: &RedisStore, key: &Key) -> [Result<(), StoreError>; 7] {
    let mut request = request();
    request.wait = true;
    let grant = other_grant(store).await;
    let step = Step {
        name: "charge".into(),
        value: "ch_1".into(),
    };
    let release = Release::new(Ending::Error, ReleaseMode::Free);
    [
        store.claim(key, &request).await.map(drop),
        store.complete(key, &grant, &value(b"paid")).await.map(drop),
        store.record_step(key, &grant, &step, LEASE).await.map(drop),
        store.release(key, &grant.holder(), release).await.map(drop),
        store.renew(key, &grant, LEASE).await.map(drop),
        store.get(key).await.map(drop),
        store.delete(key).await.map(drop),
    ]
}

/// A grant of another key.
async fn other_grant(store: &RedisStore) -> idempotent_core::protocol::Grant {
    let value = Owner::random().unwrap().to_string();
    crate::support::granted(store.claim(&key(&value), &request()).await.unwrap())
}

#[tokio::test]
async fn what_is_not_a_record_is_never_overwritten() {
    let world = World::start().await;
    let good = key("good");
    world.grant(&good, &request()).await;
    let good: String = world.ask(command(&["GET"]).arg(redis_key(&good))).await;

    let cut = &good[..100];
    let state = good.replacen("idr1P", "idr1Q", 1);
    let numbers = good.replace("1,0,0,", "1,0,x,");
    let bar = good.replace('|', "");
    let words: [&[&str]; 8] = [
        &["HSET", "field", "value"],
        &["SET", ""],
        &["SET", "something else"],
        &["SET", "idr1"],
        &["SET", cut],
        &["SET", &state],
        &["SET", &numbers],
        &["SET", &bar],
    ];
    for (index, words) in words.into_iter().enumerate() {
        let key = key(&index.to_string());
        let (name, arguments) = words.split_first().unwrap();
        () = world
            .ask(command(&[name]).arg(redis_key(&key)).arg(arguments))
            .await;
        let before: Vec<u8> = world.ask(command(&["DUMP"]).arg(redis_key(&key))).await;
        for (index, answer) in ask_everything(&world.store, &key)
            .await
            .into_iter()
            .enumerate()
        {
            assert!(
                matches!(answer, Err(StoreError::Corrupt(_))),
                "{words:?} {index}: {answer:?}"
            );
        }
        let after: Vec<u8> = world.ask(command(&["DUMP"]).arg(redis_key(&key))).await;
        assert_eq!(after, before, "{words:?}");
    }
}

#[tokio::test]
async fn a_newer_format_is_left_to_newer_programs() {
    let world = World::start().await;
    let key = key("newer");
    () = world
        .ask(command(&["SET"]).arg(redis_key(&key)).arg("idr2 and so on"))
        .await;
    for answer in ask_everything(&world.store, &key).await {
        let Err(StoreError::Incompatible { format }) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(format, "idr2");
    }
    let text: String = world.ask(command(&["GET"]).arg(redis_key(&key))).await;
    assert_eq!(text, "idr2 and so on");
}

/// `PEXPIRE 0` would delete the record.
#[tokio::test]
async fn durations_without_a_whole_millisecond_are_refused() {
    let world = World::start().await;
    let (key, short) = (key("order"), Duration::from_micros(999));
    for field in 0..3 {
        for value in [short, Duration::MAX] {
            let mut request = request();
            *[&mut request.lease, &mut request.keep, &mut request.ttl][field] = value;
            let error = world.store.claim(&key, &request).await.unwrap_err();
            assert!(matches!(error, StoreError::Backend(_)), "{error:?}");
        }
    }
    assert_eq!(world.store.get(&key).await.unwrap(), None);

    let grant = world.grant(&key, &request()).await;
    let mut completion = value(b"paid");
    completion.ttl = short;
    assert!(
        world
            .store
            .complete(&key, &grant, &completion)
            .await
            .is_err()
    );
    assert!(world.store.renew(&key, &grant, short).await.is_err());
    assert!(world.store.get(&key).await.unwrap().is_some());
}

#[tokio::test]
async fn a_record_whose_expiry_was_taken_away_gets_one_more_lease() {
    let world = World::start().await;
    let key = key("order");
    world.grant(&key, &request()).await;
    () = world.ask(command(&["PERSIST"]).arg(redis_key(&key))).await;

    for _ in 0..2 {
        match world.store.claim(&key, &request()).await.unwrap() {
            Claim::Busy { remaining, .. } => {
                assert!(remaining <= LEASE && remaining > LEASE / 2, "{remaining:?}");
            }
            claim => panic!("{claim:?}"),
        }
    }
    world.lapse(&key).await;
    assert_eq!(world.grant(&key, &request()).await.attempt, 2);
}

#[tokio::test]
async fn fences_are_exact_up_to_the_last_one() {
    let world = World::start().await;
    let key = key("order");
    world.grant(&key, &request()).await;
    let almost = (Fence::LIMIT - 2).to_string();
    () = world
        .ask(
            command(&["SETRANGE"])
                .arg(redis_key(&key))
                .arg(37)
                .arg(almost),
        )
        .await;
    world.lapse(&key).await;

    let grant = world.grant(&key, &request()).await;
    assert_eq!(grant.fence.as_u64(), Fence::LIMIT - 1);
    let update = world
        .store
        .complete(&key, &grant, &value(b"paid"))
        .await
        .unwrap();
    assert_eq!(update, Update::Applied);
}

#[tokio::test]
async fn a_server_that_forgot_the_scripts_learns_them_again() {
    let world = World::start().await;
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    for _ in 0..2 {
        world.server.ask(&["SCRIPT", "FLUSH"]).unwrap();
        assert_eq!(
            world.store.renew(&key, &grant, LEASE).await.unwrap(),
            Update::Applied
        );
    }
}

#[tokio::test]
async fn a_server_short_of_replicas_is_unavailable_and_keeps_its_records() {
    let world = World::start().await;
    let (done, running) = (key("done"), key("running"));
    let grant = world.grant(&done, &request()).await;
    world
        .store
        .complete(&done, &grant, &value(b"paid"))
        .await
        .unwrap();
    let grant = world.grant(&running, &request()).await;
    world
        .server
        .ask(&["CONFIG", "SET", "min-replicas-to-write", "1"])
        .unwrap();

    let answers = [
        world.store.claim(&key("new"), &request()).await.map(drop),
        world
            .store
            .complete(&running, &grant, &value(b"paid"))
            .await
            .map(drop),
    ];
    for answer in answers {
        assert!(
            matches!(answer, Err(StoreError::Unavailable(_))),
            "{answer:?}"
        );
    }
    let replay = world.store.claim(&done, &request()).await.unwrap();
    assert!(
        matches!(replay, Claim::Done(_)),
        "nothing has to be written for a replay"
    );

    world
        .server
        .ask(&["CONFIG", "SET", "min-replicas-to-write", "0"])
        .unwrap();
    let update = world
        .store
        .complete(&running, &grant, &value(b"paid"))
        .await
        .unwrap();
    assert_eq!(update, Update::Applied);
}

#[tokio::test]
async fn a_replica_replays_and_is_unavailable_for_work() {
    let world = World::start().await;
    let done = key("done");
    let grant = world.grant(&done, &request()).await;
    world
        .store
        .complete(&done, &grant, &value(b"paid"))
        .await
        .unwrap();
    world.server.ask(&["REPLICAOF", "127.0.0.1", "1"]).unwrap();

    let error = world
        .store
        .claim(&key("new"), &request())
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(matches!(
        world.store.claim(&done, &request()).await.unwrap(),
        Claim::Done(_)
    ));
}

/// The rights that the documentation asks for.
const RIGHTS: &[&str] = &[
    "~idempotency:*",
    "&idempotency:*",
    "+set",
    "+get",
    "+getrange",
    "+setrange",
    "+append",
    "+del",
    "+pexpire",
    "+pexpireat",
    "+pexpiretime",
    "+pttl",
    "+time",
    "+eval",
    "+evalsha",
    "+publish",
    "+subscribe",
    "+unsubscribe",
    "+ping",
    "+scan",
    "+info",
    "+config|get",
];

async fn as_user(server: &RedisServer, rights: &[&str]) -> RedisStore {
    let mut words = vec!["ACL", "SETUSER", "app", "reset", "on", ">secret"];
    words.extend(rights);
    server.ask(&words).unwrap();
    RedisStore::connect(format!("{}?user=app&pass=secret", server.url()))
        .await
        .unwrap()
}

#[tokio::test]
async fn the_documented_rights_are_enough() {
    let world = World::start().await;
    let store = as_user(&world.server, RIGHTS).await;
    let key = key("order");
    let _watch = store.watch(&key).await.unwrap();
    let grant = crate::support::granted(store.claim(&key, &request()).await.unwrap());
    let mut waiting = request();
    waiting.wait = true;
    store.claim(&key, &waiting).await.unwrap();
    for answer in ask_everything(&store, &key).await {
        answer.unwrap();
    }
    assert_eq!(
        store.complete(&key, &grant, &value(b"paid")).await.unwrap(),
        Update::Applied
    );
    store.list(&idempotent_core::Query::all()).await.unwrap();
    store.statistics().await.unwrap();
}

#[tokio::test]
async fn a_user_without_rights_to_channels_still_completes() {
    let world = World::start().await;
    let rights: Vec<_> = RIGHTS
        .iter()
        .copied()
        .filter(|right| !right.starts_with('&'))
        .collect();
    let store = as_user(&world.server, &rights).await;
    let key = key("order");
    assert!(store.watch(&key).await.is_err(), "the engine polls");
    let grant = crate::support::granted(store.claim(&key, &request()).await.unwrap());
    let mut waiting = request();
    waiting.wait = true;
    store.claim(&key, &waiting).await.unwrap();

    assert_eq!(
        store.complete(&key, &grant, &value(b"paid")).await.unwrap(),
        Update::Applied
    );
    assert!(matches!(
        store.claim(&key, &request()).await.unwrap(),
        Claim::Done(_)
    ));
}

#[tokio::test]
async fn a_server_that_evicts_records_is_refused_unless_it_is_allowed() {
    let server = RedisServer::builder()
        .arg("--maxmemory-policy", "volatile-lru")
        .start()
        .unwrap();
    RedisStore::connect(server.url())
        .await
        .expect("nothing is evicted without a limit");

    server.ask(&["CONFIG", "SET", "maxmemory", "1gb"]).unwrap();
    let error = RedisStore::connect(server.url()).await.unwrap_err();
    assert!(matches!(error, StoreError::Misconfigured(_)), "{error:?}");

    let store = ConnectOptions::new()
        .allow_eviction()
        .connect(server.url())
        .await
        .unwrap();
    assert_eq!(
        store.server().await.unwrap().eviction.as_deref(),
        Some("volatile-lru")
    );
}

#[tokio::test]
async fn a_server_says_what_it_loses() {
    for (only, append_fsync, durability) in [
        ("no", "always", Durability::Memory),
        ("yes", "always", Durability::EveryWrite),
        ("yes", "everysec", Durability::EverySecond),
        ("yes", "no", Durability::OperatingSystem),
    ] {
        let builder = RedisServer::builder();
        let builder = builder
            .arg("--appendonly", only)
            .arg("--appendfsync", append_fsync);
        let world = World::on(builder.start().unwrap()).await;
        let said = world.store.server().await.unwrap();
        assert_eq!((said.durability, said.replicas), (durability, 0));
        assert!(said.version.starts_with('7'), "{}", said.version);
        said.check().unwrap();
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_taken_as_it_is() {
    let world = World::start().await;
    let rights: Vec<_> = RIGHTS
        .iter()
        .copied()
        .filter(|right| *right != "+info")
        .collect();
    let store = as_user(&world.server, &rights).await;
    assert_eq!(
        store.server().await.unwrap().durability,
        Durability::Unknown
    );
}
