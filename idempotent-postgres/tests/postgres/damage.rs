//! Rows that no store has written.

use std::time::Duration;

use idempotent_core::protocol::Update;
use idempotent_core::{Inspect, Key, Query, Store, StoreError};

use crate::common::{LEASE, TTL, World, grant, key, request, step, value};

/// What no record has in a column, and which column is told to be damaged.
const DAMAGES: [(&str, &str); 16] = [
    ("state = 'completed'", "state"),
    ("state = ''", "state"),
    ("owner = '\\x00'", "owner"),
    ("fence = 9007199254740992", "fence"),
    ("attempt = -1", "attempt"),
    ("attempt = 4294967296", "attempt"),
    ("failures = -1", "failures"),
    ("previous = 'z'", "previous"),
    ("ending = 'xx'", "ending"),
    ("fingerprint = '\\x00'", "fingerprint"),
    ("started_at = -1", "started_at"),
    ("keep_nanos = -1", "keep_nanos"),
    ("late = -1", "late"),
    ("steps = 2", "steps"),
    ("completed_at = -1", "completed_at"),
    ("codec = 1000", "codec"),
];

impl World {
    async fn change(&self, set: &str, key: &Key) {
        let update = format!("UPDATE idempotency_record SET {set} WHERE key = $1");
        let client = self.client().await;
        assert_eq!(client.execute(&update, &[&key.as_str()]).await.unwrap(), 1);
    }
}

fn is_corrupt(error: &StoreError, column: &str) -> bool {
    let StoreError::Corrupt(source) = error else {
        return false;
    };
    source.to_string().contains(&format!("`{column}`"))
}

/// C1g: fail closed, say where, and leave it as it is.
#[tokio::test]
async fn damage_to_any_column_is_refused_and_left_alone() {
    let world = World::on_any();
    let store = world.connect().await;
    for (damage, column) in DAMAGES {
        let key = key(damage);
        let grant = grant(&store, &key).await;
        let step = step("charge");
        store.record_step(&key, &grant, &step, LEASE).await.unwrap();
        world.change(damage, &key).await;

        let claim = store.claim(&key, &request()).await.unwrap_err();
        assert!(is_corrupt(&claim, column), "{damage}: {claim:?}");
        let get = store.get(&key).await.unwrap_err();
        assert!(is_corrupt(&get, column), "{damage}: {get:?}");
        if column != "steps" {
            // Nobody needs to know the steps to finish, or to delete.
            let completion = store.complete(&key, &grant, &value("paid")).await;
            let completion = completion.unwrap_err();
            assert!(is_corrupt(&completion, column), "{damage}: {completion:?}");
            let deletion = store.delete(&key).await.unwrap_err();
            assert!(is_corrupt(&deletion, column), "{damage}: {deletion:?}");
        }
        let unchanged = format!("SELECT FROM idempotency_record WHERE key = $1 AND {damage}");
        let rows = world.sql(&unchanged, &[&key.as_str()]).await;
        assert_eq!(rows.len(), 1, "{damage}");
    }
    grant(&store, &key("intact")).await;
}

/// A list that left the damaged record out would look complete.
#[tokio::test]
async fn a_damaged_record_is_not_left_out_of_a_list() {
    let world = World::on_any();
    let store = world.connect().await;
    grant(&store, &key("order")).await;
    world.change("state = '?'", &key("order")).await;
    let list = store.list(&Query::all()).await.unwrap_err();
    assert!(is_corrupt(&list, "state"), "{list:?}");
    let statistics = store.statistics().await.unwrap_err();
    assert!(is_corrupt(&statistics, "state"), "{statistics:?}");

    world
        .change("state = 'P', key = 'no scope'", &key("order"))
        .await;
    let list = store.list(&Query::all()).await.unwrap_err();
    assert!(is_corrupt(&list, "key"), "{list:?}");
}

/// Steps that outlived their record, which somebody deleted by hand, are not handed to the next life
/// of its key.
#[tokio::test]
async fn steps_of_an_earlier_life_are_forgotten() {
    let world = World::on_any();
    let store = world.connect().await;
    let key = key("order");
    let first = grant(&store, &key).await;
    for name in ["charge", "book"] {
        let step = step(name);
        store.record_step(&key, &first, &step, LEASE).await.unwrap();
    }
    world.sql("DELETE FROM idempotency_record", &[]).await;

    let second = grant(&store, &key).await;
    assert_eq!((second.attempt, second.steps.len()), (1, 0));
    let step = step("mail");
    store
        .record_step(&key, &second, &step, LEASE)
        .await
        .unwrap();
    assert_eq!(store.get(&key).await.unwrap().unwrap().steps, [step]);
}

/// And those of a record that ends, is deleted, or expires, go with it.
#[tokio::test]
async fn steps_go_with_their_record() {
    let world = World::on_any();
    let store = world.connect().await;
    let step = step("charge");
    let count = async || {
        world
            .sql("SELECT FROM idempotency_record_step", &[])
            .await
            .len()
    };
    for name in ["completed", "deleted", "expired", "purged"] {
        let key = key(name);
        let grant = grant(&store, &key).await;
        store.record_step(&key, &grant, &step, LEASE).await.unwrap();
        assert_eq!(count().await, 1, "{name}");
        match name {
            "completed" => {
                store.complete(&key, &grant, &value("paid")).await.unwrap();
            }
            "deleted" => {
                world.lapse(&key).await;
                store.delete(&key).await.unwrap();
            }
            "expired" => {
                world.change("expires_at = 1, keep_nanos = 0", &key).await;
                crate::common::grant(&store, &key).await;
            }
            _ => {
                world
                    .change("fence = 1, expires_at = 1, keep_nanos = 0", &key)
                    .await;
                assert_eq!(store.purge(10).await.unwrap().records, 1);
            }
        }
        assert_eq!(count().await, 0, "{name}");
    }
}

/// A record that came to its end under a newer version is for that version to remove.
#[tokio::test]
async fn a_purge_leaves_newer_formats_alone() {
    let world = World::on_any();
    let store = world.connect().await;
    grant(&store, &key("newer")).await;
    let old = "format = 2, state = 'R', expires_at = 1";
    world.change(old, &key("newer")).await;
    assert_eq!(store.purge(10).await.unwrap().records, 0);
    let claim = store.claim(&key("newer"), &request()).await.unwrap_err();
    assert!(
        matches!(claim, StoreError::Incompatible { ref format } if format == "2"),
        "{claim:?}"
    );
}

/// The server's integers go up to 2^63. What does not fit is refused rather than cut off.
#[tokio::test]
async fn a_duration_that_cannot_be_kept_is_refused() {
    let world = World::on_any();
    let store = world.connect().await;
    let key = key("order");
    let mut endless = request();
    endless.keep = Duration::MAX;
    let claim = store.claim(&key, &endless).await.unwrap_err();
    assert!(matches!(claim, StoreError::Backend(_)), "{claim:?}");
    assert_eq!(store.get(&key).await.unwrap(), None);

    let grant = grant(&store, &key).await;
    let lease = Duration::from_micros(u64::MAX / 2 - 1);
    let renewal = store.renew(&key, &grant, lease).await.unwrap_err();
    assert!(matches!(renewal, StoreError::Backend(_)), "{renewal:?}");
    let century = store.renew(&key, &grant, TTL * 36_500).await.unwrap();
    assert_eq!(century, Update::Applied);
}
