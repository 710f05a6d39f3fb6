//! Purges that share a table with others, and with claims.

use std::time::Duration;

use idempotent_core::{Inspect, Purged, Purger};
use idempotent_postgres::PostgresStore;
use tokio::time::timeout;

use crate::common::{World, grant, key};

const BATCH: usize = 500;
const EXPIRED: usize = 4_000;
/// What one statement removes at most, whatever the caller asks for.
const CHUNK: usize = 5_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// The columns that a copy of a record shares with it.
const COPIED: &str =
    "version, started_at, completed_at, attempt, failures, late, steps, codec, format,
    at_most_once, waiter, state, previous, ending, owner, fingerprint, result";

impl World {
    /// Adds `count` records, all of which have expired.
    async fn expire(&self, store: &PostgresStore, count: usize) {
        grant(store, &key("model")).await;
        let count = i64::try_from(count).unwrap();
        let copy = format!(
            "INSERT INTO idempotency_record (key, fence, expires_at, keep_nanos, {COPIED})
             SELECT 'test/old-' || number, 1, 1, 0, {COPIED}
               FROM idempotency_record, generate_series(1, $1::bigint) number"
        );
        self.sql(&copy, &[&count]).await;
        let gone = "DELETE FROM idempotency_record WHERE key = 'test/model'";
        self.sql(gone, &[]).await;
    }

    /// Notes how many records each statement removes.
    async fn note_deletions(&self) {
        let notes = format!(
            "CREATE TABLE gone (records bigint NOT NULL);
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 INSERT INTO {schema}.gone SELECT count(*) FROM old;
                 RETURN NULL;
             END $$;
             CREATE TRIGGER note AFTER DELETE ON idempotency_record
                 REFERENCING OLD TABLE AS old FOR EACH STATEMENT EXECUTE FUNCTION note()",
            schema = self.schema,
        );
        self.client().await.batch_execute(&notes).await.unwrap();
    }

    /// How many records each statement has removed, if any.
    async fn deletions(&self) -> Vec<usize> {
        let rows = self
            .sql("SELECT records FROM gone WHERE records > 0", &[])
            .await;
        let count = |records: i64| usize::try_from(records).unwrap();
        rows.iter().map(|row| count(row.get(0))).collect()
    }
}

/// Claims new keys until no record is expired any more. Returns how many.
async fn claim_meanwhile(store: &PostgresStore) -> u64 {
    let mut claims = 0;
    while store.statistics().await.unwrap().expired > 0 {
        grant(store, &key(&format!("new-{claims}"))).await;
        claims += 1;
    }
    claims
}

#[tokio::test]
async fn two_purgers_empty_the_table_in_batches_while_claims_go_on() {
    let world = World::on_any();
    let stores = [world.connect().await, world.connect().await];
    world.expire(&stores[0], EXPIRED).await;
    world.note_deletions().await;

    let purgers = stores.clone().map(|store| {
        let purger = Purger::new(store).interval(Duration::from_millis(10));
        purger.batch(BATCH).spawn()
    });
    let claims = timeout(PATIENCE, claim_meanwhile(&stores[0])).await;
    let claims = claims.expect("a purger that ends");
    for purger in purgers {
        purger.stop().await;
    }

    let statistics = stores[0].statistics().await.unwrap();
    assert_eq!((statistics.expired, statistics.in_progress), (0, claims));
    let gone = world.deletions().await;
    assert_eq!(gone.iter().sum::<usize>(), EXPIRED);
    assert!(gone.iter().all(|&records| records <= BATCH), "{gone:?}");
    assert!(claims > 0);
}

/// T29: a larger statement would hold its locks for too long, and its work would be lost at once.
#[tokio::test]
async fn a_statement_removes_at_most_so_many() {
    let world = World::on_any();
    let store = world.connect().await;
    world.expire(&store, CHUNK + 1_000).await;
    world.note_deletions().await;
    let purged = store.purge(usize::MAX).await.unwrap();
    assert_eq!(purged, Purged::new(CHUNK + 1_000, false));
    assert_eq!(world.deletions().await, [CHUNK, 1_000]);
}

/// What another purge is about to remove, or a transaction has locked, is passed over.
#[tokio::test]
async fn a_purge_does_not_wait_for_locks() {
    let world = World::on_any();
    let store = world.connect().await;
    world.expire(&store, 30).await;
    let mut other = world.client().await;
    let locks = other.transaction().await.unwrap();
    let first = "SELECT FROM idempotency_record ORDER BY purge_at LIMIT 10 FOR UPDATE";
    assert_eq!(locks.query(first, &[]).await.unwrap().len(), 10);

    // A wait would end as an error, for the locks are held until the purges have answered.
    assert_eq!(store.purge(15).await.unwrap(), Purged::new(15, true));
    assert_eq!(store.purge(15).await.unwrap(), Purged::new(5, false));
    locks.rollback().await.unwrap();
    assert_eq!(store.purge(15).await.unwrap(), Purged::new(10, false));
}
