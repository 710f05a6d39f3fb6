//! A purger, and the claims that it must not hold up.

use std::time::Duration;

use idempotent_core::{Inspect, Purger};
use idempotent_sqlite::SqliteStore;
use idempotent_testkit::Harness;
use tokio::task::JoinSet;

use crate::common::{Manual, TTL, grant, key};

const BATCH: usize = 200;
const EXPIRED: usize = 3_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// Fills the file with records, all of which have expired.
async fn expire(world: &Manual, store: &SqliteStore) {
    let mut claims = JoinSet::new();
    for number in 0..EXPIRED {
        let store = store.clone();
        claims.spawn(async move { grant(&store, &key(&format!("old-{number}"))).await });
    }
    assert_eq!(claims.join_all().await.len(), EXPIRED);
    world.clock.advance(TTL * 3);
}

/// Notes when each record goes. All that one statement removes go at the same moment.
fn note_deletions(world: &Manual) {
    let notes = "CREATE TABLE gone (at REAL NOT NULL);
        CREATE TRIGGER note AFTER DELETE ON idempotency_record
        BEGIN INSERT INTO gone VALUES (julianday('now')); END";
    world.file.sql().execute_batch(notes).unwrap();
}

/// How many records went at each moment.
fn deletions(world: &Manual) -> Vec<usize> {
    let sql = world.file.sql();
    let count = "SELECT count(*) FROM gone GROUP BY at ORDER BY at";
    let mut statement = sql.prepare(count).unwrap();
    let counts = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap();
    counts
        .map(|count| usize::try_from(count.unwrap()).unwrap())
        .collect()
}

/// Claims new keys until no record is expired any more. Returns how many.
async fn claim_meanwhile(store: &SqliteStore) -> u64 {
    let mut claims = 0;
    while store.statistics().await.unwrap().expired > 0 {
        grant(store, &key(&format!("new-{claims}"))).await;
        claims += 1;
    }
    claims
}

#[tokio::test]
async fn a_purger_empties_the_file_in_batches_while_claims_go_on() {
    let world = Manual::start().await;
    let store = world.store().await;
    expire(&world, &store).await;
    note_deletions(&world);

    let purger = Purger::new(store.clone())
        .interval(Duration::from_millis(10))
        .batch(BATCH)
        .spawn();
    let claims = tokio::time::timeout(PATIENCE, claim_meanwhile(&store));
    let claims = claims.await.expect("a purger that ends");
    purger.stop().await;

    let statistics = store.statistics().await.unwrap();
    assert_eq!((statistics.expired, statistics.in_progress), (0, claims));
    let gone = deletions(&world);
    assert_eq!(gone.iter().sum::<usize>(), EXPIRED);
    // A new record takes up to two with it, perhaps at the very moment of a batch.
    let batches = gone.iter().filter(|&&records| records > BATCH / 2).count();
    assert!(
        gone.iter().all(|&records| records < BATCH * 3 / 2),
        "{gone:?}"
    );
    assert!(batches >= 10 && claims >= 10, "{claims}: {gone:?}");
}
