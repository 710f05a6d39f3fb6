//! What the memory store promises beside the protocol: room, and time.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap like tests")]

use std::time::Duration;

use bytes::Bytes;
use idempotent_core::protocol::{
    Claim, ClaimRequest, Completion, Grant, Release, ReleaseMode, StepReply, Update,
};
use idempotent_core::{
    Clock, CodecId, Ending, Fingerprint, Inspect, Key, MemoryStore, OnFull, Owner, Payload,
    Statistics, Step, Store, StoreError,
};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn key(number: usize) -> Key {
    Key::new("memory", &number.to_string()).unwrap()
}

fn request(ttl: Duration) -> ClaimRequest {
    let mut request = ClaimRequest::new(
        Owner::random().unwrap(),
        Fingerprint::of("").unwrap(),
        MINUTE,
        ttl,
    );
    request.keep = ttl;
    request
}

fn paid(ttl: Duration) -> Completion {
    let bytes = Bytes::from_static(b"\"paid\"");
    Completion::value(
        Payload {
            codec: CodecId::JSON,
            bytes,
        },
        ttl,
    )
}

fn store(records: usize) -> (MemoryStore, Clock) {
    let clock = Clock::manual();
    (
        MemoryStore::new()
            .with_clock(clock.clone())
            .with_capacity(records),
        clock,
    )
}

async fn granted(store: &MemoryStore, key: &Key) -> Grant {
    match store.claim(key, &request(DAY)).await.unwrap() {
        Claim::Granted(grant) => grant,
        claim => panic!("not granted: {claim:?}"),
    }
}

async fn finished(store: &MemoryStore, key: &Key, ttl: Duration) {
    let grant = granted(store, key).await;
    assert_eq!(
        store.complete(key, &grant, &paid(ttl)).await.unwrap(),
        Update::Applied
    );
}

async fn is_full(store: &MemoryStore, key: &Key) -> bool {
    match store.claim(key, &request(DAY)).await {
        Ok(_) => false,
        Err(StoreError::Full(_)) => true,
        Err(error) => panic!("{error:?}"),
    }
}

/// How many records there are, expired ones included.
async fn records(store: &MemoryStore) -> u64 {
    let statistics = store.statistics().await.unwrap();
    let Statistics {
        completed,
        expired,
        failed,
        in_doubt,
        in_progress,
        released,
        ..
    } = statistics;
    completed + expired + failed + in_doubt + in_progress + released
}

/// C13: a flood of new keys does not push out what is there.
#[tokio::test]
async fn a_full_store_refuses_new_keys() {
    let (store, _) = store(3);
    finished(&store, &key(0), DAY).await;
    granted(&store, &key(1)).await;
    granted(&store, &key(2)).await;

    assert!(is_full(&store, &key(3)).await);
    assert_eq!(store.get(&key(3)).await.unwrap(), None);
    assert!(matches!(
        store.claim(&key(0), &request(DAY)).await.unwrap(),
        Claim::Done(_)
    ));
    assert!(matches!(
        store.claim(&key(1), &request(DAY)).await.unwrap(),
        Claim::Busy { .. }
    ));
    assert_eq!(records(&store).await, 3);
}

/// C13: neither to keep nor to finish.
#[tokio::test]
async fn a_full_store_goes_on_with_what_it_has_begun() {
    let (store, clock) = store(3);
    let grants = [
        granted(&store, &key(0)).await,
        granted(&store, &key(1)).await,
    ];
    granted(&store, &key(2)).await;
    assert!(is_full(&store, &key(3)).await);

    let step = Step {
        name: "charge".to_owned(),
        value: Bytes::from_static(b"ch_1"),
    };
    let recorded = store
        .record_step(&key(0), &grants[0], &step, MINUTE)
        .await
        .unwrap();
    assert_eq!(recorded, StepReply::Recorded);
    assert_eq!(
        store.renew(&key(0), &grants[0], MINUTE).await.unwrap(),
        Update::Applied
    );
    assert_eq!(
        store
            .complete(&key(0), &grants[0], &paid(DAY))
            .await
            .unwrap(),
        Update::Applied
    );

    let release = Release::new(Ending::Error, ReleaseMode::Free);
    let holder = grants[1].holder();
    assert_eq!(
        store.release(&key(1), &holder, release).await.unwrap(),
        Update::Applied
    );
    assert_eq!(
        granted(&store, &key(1)).await.attempt,
        2,
        "the key has its room already"
    );
    clock.advance(MINUTE);
    assert_eq!(granted(&store, &key(2)).await.attempt, 2, "a takeover, too");
}

/// C10 and C13: a record that was lost may be healed into a full store.
#[tokio::test]
async fn a_full_store_heals() {
    let (store, clock) = store(1);
    let grant = granted(&store, &key(0)).await;
    clock.advance(MINUTE);
    store.delete(&key(0)).await.unwrap();
    granted(&store, &key(1)).await;
    assert!(is_full(&store, &key(2)).await);
    assert_eq!(
        store.complete(&key(0), &grant, &paid(DAY)).await.unwrap(),
        Update::Healed
    );
}

#[tokio::test]
async fn expired_records_make_room_by_themselves() {
    let (store, clock) = store(100);
    for number in 0..100 {
        finished(&store, &key(number), MINUTE).await;
    }
    assert!(is_full(&store, &key(100)).await);
    clock.advance(MINUTE);
    for number in 100..200 {
        granted(&store, &key(number)).await;
    }
    assert!(is_full(&store, &key(200)).await);
    assert_eq!(records(&store).await, 100);
}

/// Nobody needs to purge, whatever the rate of new keys.
#[tokio::test]
async fn a_flood_of_keys_does_not_grow_the_store() {
    let (store, clock) = store(1_000_000);
    for number in 0..20_000 {
        finished(&store, &key(number), MINUTE).await;
        clock.advance(Duration::from_millis(100));
    }
    // 600 are alive at a time; a shard that is not asked keeps some expired ones a little longer.
    assert!(records(&store).await < 2_000, "{}", records(&store).await);
}

#[tokio::test]
async fn deleted_and_purged_records_give_their_room_back() {
    let (store, clock) = store(10);
    for round in 0..50 {
        for number in 0..10 {
            finished(&store, &key(round * 100 + number), MINUTE).await;
        }
        assert!(is_full(&store, &key(99)).await);
        for number in 0..5 {
            store.delete(&key(round * 100 + number)).await.unwrap();
        }
        clock.advance(MINUTE);
        while store.purge(2).await.unwrap().more {}
        assert_eq!(records(&store).await, 0);
    }
}

/// A completion may bring a record's end much closer than the claim's `keep` had put it.
#[tokio::test]
async fn purging_knows_the_end_that_counts() {
    let (store, clock) = store(10);
    finished(&store, &key(0), MINUTE).await;
    finished(&store, &key(1), DAY).await;
    clock.advance(MINUTE);
    assert_eq!(store.purge(10).await.unwrap().records, 1);
    assert_eq!(records(&store).await, 1);
}

/// Evicting, on request, drops a finished record for each new key, and no more.
#[tokio::test]
async fn eviction_drops_one_finished_record_for_each_new_key() {
    let (store, _) = store(3);
    let store = store.with_on_full(OnFull::EvictFinished);
    for number in 0..3 {
        finished(&store, &key(number), DAY).await;
    }
    for number in 3..6 {
        granted(&store, &key(number)).await;
        let statistics = store.statistics().await.unwrap();
        assert_eq!(statistics.in_progress, number as u64 - 2);
        assert_eq!(statistics.completed, 5 - number as u64);
    }
    assert!(is_full(&store, &key(6)).await);
}

/// A live claim, a tombstone and a doubt are never dropped: what they know is not written elsewhere.
#[tokio::test]
async fn eviction_spares_what_is_not_finished() {
    let (store, _) = store(3);
    let store = store.with_on_full(OnFull::EvictFinished);
    granted(&store, &key(0)).await;
    for (number, mode) in [(1, ReleaseMode::Free), (2, ReleaseMode::Hold)] {
        let grant = granted(&store, &key(number)).await;
        let release = Release::new(Ending::Error, mode);
        store
            .release(&key(number), &grant.holder(), release)
            .await
            .unwrap();
    }
    assert!(is_full(&store, &key(3)).await);
    for number in 0..3 {
        assert!(store.get(&key(number)).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn clones_share_records_and_stores_do_not() {
    let (store, _) = store(10);
    granted(&store, &key(0)).await;
    let claim = store.clone().claim(&key(0), &request(DAY)).await.unwrap();
    assert!(matches!(claim, Claim::Busy { .. }));
    assert_eq!(MemoryStore::new().get(&key(0)).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn leases_run_out_in_paused_time() {
    let store = MemoryStore::new();
    granted(&store, &key(0)).await;
    tokio::time::sleep(MINUTE / 60 * 59).await;
    let claim = store.claim(&key(0), &request(DAY)).await.unwrap();
    assert!(matches!(claim, Claim::Busy { .. }));
    tokio::time::sleep(MINUTE / 60).await;
    assert_eq!(granted(&store, &key(0)).await.attempt, 2);
}

/// Records hold results and keys, which are nobody's business in a log.
#[tokio::test]
async fn debug_shows_no_records() {
    let (store, _) = store(10);
    let secret = Key::new("memory", "4242 4242 4242 4242").unwrap();
    finished(&store, &secret, DAY).await;
    let shown = format!("{store:?}");
    assert!(shown.contains("records: 1"), "{shown}");
    assert!(
        !shown.contains("4242") && !shown.contains("paid"),
        "{shown}"
    );
}

/// The last free place may be given to one caller on each thread, since nobody holds up the whole
/// store for it; a flood does not get any further.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_concurrent_flood_stops_where_the_store_is_full() {
    let (store, _) = store(100);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..64 {
        let store = store.clone();
        tasks.spawn(async move {
            for number in 0..100 {
                _ = is_full(&store, &key(task * 100 + number)).await;
            }
        });
    }
    tasks.join_all().await;
    let records = records(&store).await;
    assert_eq!(records, 100);
}
