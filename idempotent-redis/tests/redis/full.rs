//! C13: a server without room refuses to start work, and does everything else.

use std::time::Duration;

use bytes::Bytes;
use idempotent_core::protocol::{Claim, Completion, Release, ReleaseMode, StepReply, Update};
use idempotent_core::{
    Ending, Fingerprint, Inspect, InspectExt, Key, Resolution, State, Step, Store, StoreError,
};

use crate::support::{LEASE, TTL, World, command, key, payload, redis_key, request, value};

impl World {
    /// Leaves no room: less than one byte may be used.
    fn fill(&self) {
        self.server
            .ask(&["CONFIG", "SET", "maxmemory", "1"])
            .unwrap();
    }
}

#[tokio::test]
async fn a_full_server_refuses_to_start_work() {
    let world = World::start().await;
    let (released, lapsed) = (key("released"), key("lapsed"));
    let grant = world.grant(&released, &request()).await;
    let release = Release::new(Ending::Error, ReleaseMode::Free);
    world
        .store
        .release(&released, &grant.holder(), release)
        .await
        .unwrap();
    world.grant(&lapsed, &request()).await;
    world.lapse(&lapsed).await;
    world.fill();

    for key in [key("new"), released, lapsed] {
        let before = world.store.get(&key).await.unwrap();
        let error = world.store.claim(&key, &request()).await.unwrap_err();
        assert!(matches!(error, StoreError::Full(_)), "{error:?}");
        assert_eq!(world.store.get(&key).await.unwrap(), before);
    }
}

#[tokio::test]
async fn a_full_server_still_answers_claims_that_need_no_room() {
    let world = World::start().await;
    let (done, busy, stale, doubt) = (key("done"), key("busy"), key("stale"), key("doubt"));
    let grant = world.grant(&done, &request()).await;
    world
        .store
        .complete(&done, &grant, &value(b"paid"))
        .await
        .unwrap();
    let running = request();
    world.grant(&busy, &running).await;
    let dead = request();
    let grant = world.grant(&stale, &dead).await;
    let release = Release::new(Ending::Cancelled, ReleaseMode::Free);
    world
        .store
        .release(&stale, &grant.holder(), release)
        .await
        .unwrap();
    let mut once = request();
    once.at_most_once = true;
    world.grant(&doubt, &once).await;
    world.lapse(&doubt).await;
    world.fill();

    let (store, stranger) = (&world.store, request());
    assert!(matches!(
        store.claim(&done, &stranger).await.unwrap(),
        Claim::Done(_)
    ));
    let mut other = request();
    other.fingerprint = Fingerprint::of("4 apples").unwrap();
    assert_eq!(store.claim(&done, &other).await.unwrap(), Claim::Mismatch);
    assert_eq!(store.claim(&busy, &other).await.unwrap(), Claim::Mismatch);
    assert!(matches!(
        store.claim(&busy, &running).await.unwrap(),
        Claim::Granted(_)
    ));
    assert_eq!(store.claim(&stale, &dead).await.unwrap(), Claim::Stale);
    assert!(matches!(
        store.claim(&doubt, &stranger).await.unwrap(),
        Claim::InDoubt(_)
    ));
    assert_eq!(world.state(&doubt).await, State::InDoubt);
    let mut waiting = request();
    waiting.wait = true;
    assert!(matches!(
        store.claim(&busy, &waiting).await.unwrap(),
        Claim::Busy { .. }
    ));
    assert!(world.store.get(&busy).await.unwrap().unwrap().waiter);
}

#[tokio::test]
async fn a_full_server_still_keeps_and_finishes_work() {
    let world = World::start().await;
    let store = &world.store;
    let large = Bytes::from(vec![b'x'; 1 << 20]);
    let keys = [
        "small", "large", "lapsed", "released", "held", "noted", "late",
    ]
    .map(key);
    let mut grants = Vec::new();
    for key in &keys {
        grants.push(world.grant(key, &request()).await);
    }
    let [small, large_key, lapsed, released, held, noted, late] = &keys;
    world.lapse(lapsed).await;
    world.lapse(late).await;
    let winner = world.grant(late, &request()).await;
    world.fill();

    assert_eq!(
        store.renew(small, &grants[0], LEASE).await.unwrap(),
        Update::Applied
    );
    let step = Step {
        name: "charge".into(),
        value: large.clone(),
    };
    let reply = store
        .record_step(small, &grants[0], &step, LEASE)
        .await
        .unwrap();
    assert_eq!(reply, StepReply::Recorded);
    let reply = store
        .record_step(small, &grants[0], &step, LEASE)
        .await
        .unwrap();
    assert_eq!(reply, StepReply::Known(large.clone()));

    let mut payload = payload(b"");
    payload.bytes = large;
    let large = Completion::value(payload, TTL);
    let small_value = value(b"paid");
    for (key, grant, value) in [
        (small, &grants[0], &small_value),
        (large_key, &grants[1], &large),
        (lapsed, &grants[2], &small_value),
    ] {
        assert_eq!(
            store.complete(key, grant, value).await.unwrap(),
            Update::Applied
        );
        assert_eq!(
            store.complete(key, grant, value).await.unwrap(),
            Update::Repeated
        );
    }
    for (key, grant, mode, state) in [
        (released, &grants[3], ReleaseMode::Free, State::Released),
        (held, &grants[4], ReleaseMode::Hold, State::InDoubt),
        (noted, &grants[5], ReleaseMode::Note, State::InProgress),
    ] {
        let release = Release::new(Ending::Error, mode);
        let update = store.release(key, &grant.holder(), release).await.unwrap();
        assert_eq!(update, Update::Applied);
        assert_eq!(world.state(key).await, state);
    }
    store.resolve(held, Resolution::NotExecuted).await.unwrap();

    let update = store
        .complete(late, &grants[6], &small_value)
        .await
        .unwrap();
    assert!(matches!(update, Update::Lost(Some(_))), "{update:?}");
    assert_eq!(store.get(late).await.unwrap().unwrap().late, 1);
    assert_eq!(
        store.complete(late, &winner, &small_value).await.unwrap(),
        Update::Applied
    );
}

/// Here it is the script that sees what there is.
#[tokio::test]
async fn a_full_server_still_tells_a_record_from_something_else() {
    let world = World::start().await;
    let good = key("good");
    world.grant(&good, &request()).await;
    let good: String = world.ask(command(&["GET"]).arg(redis_key(&good))).await;
    let foreign = [
        "",
        "something else",
        &good.replacen("idr1P", "idr1Q", 1),
        &good[..130],
    ];
    let newer = good.replacen("idr1P", "idr2P", 1);
    for (number, text) in foreign.into_iter().chain([&*newer]).enumerate() {
        let key = redis_key(&key(&number.to_string()));
        () = world.ask(command(&["SET"]).arg(key).arg(text)).await;
    }
    world.fill();

    let mut waiting = request();
    waiting.wait = true;
    for (number, text) in foreign.into_iter().chain([&*newer]).enumerate() {
        let key = key(&number.to_string());
        let error = world.store.claim(&key, &waiting).await.unwrap_err();
        match error {
            StoreError::Corrupt(_) => assert!(text != newer),
            StoreError::Incompatible { .. } => assert!(text == newer),
            error => panic!("{text}: {error:?}"),
        }
        let found: String = world.ask(command(&["GET"]).arg(redis_key(&key))).await;
        assert_eq!(found, text);
    }
}

#[tokio::test]
async fn a_full_server_still_heals() {
    let world = World::start().await;
    let (renewed, completed) = (key("renewed"), key("completed"));
    let grants = [
        world.grant(&renewed, &request()).await,
        world.grant(&completed, &request()).await,
    ];
    for key in [&renewed, &completed] {
        () = world.ask(command(&["DEL"]).arg(redis_key(key))).await;
    }
    world.fill();

    let update = world
        .store
        .renew(&renewed, &grants[0], LEASE)
        .await
        .unwrap();
    assert_eq!(update, Update::Healed);
    let update = world
        .store
        .complete(&completed, &grants[1], &value(b"paid"))
        .await
        .unwrap();
    assert_eq!(update, Update::Healed);
}

/// The end of the lease is the key's expiry: what only notes something must not move it.
#[tokio::test]
async fn notes_and_waiters_leave_the_lease_as_it_is() {
    let world = World::start().await;
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let end = world.end(&key).await;
    tokio::time::sleep(Duration::from_millis(5)).await;

    let mut waiting = request();
    waiting.wait = true;
    world.store.claim(&key, &waiting).await.unwrap();
    let note = Release::new(Ending::Panicked, ReleaseMode::Note);
    world
        .store
        .release(&key, &grant.holder(), note)
        .await
        .unwrap();
    assert_eq!(world.end(&key).await, end);
}

impl World {
    async fn state(&self, key: &Key) -> State {
        self.store.get(key).await.unwrap().unwrap().state
    }

    async fn end(&self, key: &Key) -> i64 {
        self.ask(command(&["PEXPIRETIME"]).arg(redis_key(key)))
            .await
    }
}
