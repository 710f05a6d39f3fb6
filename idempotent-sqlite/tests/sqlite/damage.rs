//! Rows that no store has written.

use std::time::Duration;

use idempotent_core::protocol::Update;
use idempotent_core::{Inspect, Query, Step, Store, StoreError};

use crate::common::{File, LEASE, TTL, grant, key, request, value};

/// What no record has in a column, and which column is told to be damaged.
const DAMAGES: [(&str, &str); 19] = [
    ("state = 'completed'", "state"),
    ("state = ''", "state"),
    ("owner = zeroblob(15)", "owner"),
    ("fence = -1", "fence"),
    ("fence = 9007199254740992", "fence"),
    ("attempt = -1", "attempt"),
    ("attempt = 4294967296", "attempt"),
    ("failures = -1", "failures"),
    ("previous = 'z'", "previous"),
    ("ending = 'xx'", "ending"),
    ("at_most_once = 2", "at_most_once"),
    ("fingerprint = zeroblob(33)", "fingerprint"),
    ("started_at = -1", "started_at"),
    ("keep_nanos = -1", "keep_nanos"),
    ("late = -1", "late"),
    ("waiter = -1", "waiter"),
    ("steps = 2", "steps"),
    ("completed_at = -1", "completed_at"),
    ("codec = 1000", "codec"),
];

fn is_corrupt(error: &StoreError, column: &str) -> bool {
    let StoreError::Corrupt(source) = error else {
        return false;
    };
    source.to_string().contains(&format!("`{column}`"))
}

/// C1g: fail closed, say where, and leave it as it is.
#[tokio::test]
async fn damage_to_any_column_is_refused_and_left_alone() {
    let file = File::new();
    let store = file.store();
    for (damage, column) in DAMAGES {
        let key = key(damage);
        let grant = grant(&store, &key).await;
        let step = Step {
            name: "charge".to_owned(),
            value: vec![1].into(),
        };
        store.record_step(&key, &grant, &step, LEASE).await.unwrap();
        let update = format!("UPDATE idempotency_record SET {damage} WHERE key = ?1");
        assert_eq!(file.sql().execute(&update, [key.as_str()]).unwrap(), 1);

        let claim = store.claim(&key, &request()).await.unwrap_err();
        assert!(is_corrupt(&claim, column), "{damage}: {claim:?}");
        let completion = store
            .complete(&key, &grant, &value("paid"))
            .await
            .unwrap_err();
        assert!(is_corrupt(&completion, column), "{damage}: {completion:?}");
        let deletion = store.delete(&key).await.unwrap_err();
        assert!(is_corrupt(&deletion, column), "{damage}: {deletion:?}");

        let unchanged =
            format!("SELECT count(*) FROM idempotency_record WHERE key = ?1 AND {damage}");
        let count: i64 = file
            .sql()
            .query_row(&unchanged, [key.as_str()], |row| row.get(0))
            .unwrap();
        assert_eq!(count, 1, "{damage}");
    }
    grant(&store, &key("intact")).await;
}

/// A list that left the damaged record out would look complete.
#[tokio::test]
async fn a_damaged_record_is_not_left_out_of_a_list() {
    let file = File::new();
    let store = file.store();
    grant(&store, &key("order")).await;
    file.sql()
        .execute("UPDATE idempotency_record SET state = '?'", [])
        .unwrap();
    let list = store.list(&Query::all()).await.unwrap_err();
    assert!(is_corrupt(&list, "state"), "{list:?}");
    let statistics = store.statistics().await.unwrap_err();
    assert!(is_corrupt(&statistics, "state"), "{statistics:?}");

    file.sql()
        .execute(
            "UPDATE idempotency_record SET state = 'P', key = 'no scope'",
            [],
        )
        .unwrap();
    let list = store.list(&Query::all()).await.unwrap_err();
    assert!(is_corrupt(&list, "key"), "{list:?}");
}

/// Steps that outlived their record, which somebody deleted without `foreign_keys`, are not handed
/// to the next life of its key.
#[tokio::test]
async fn steps_of_an_earlier_life_are_forgotten() {
    let file = File::new();
    let store = file.store();
    let key = key("order");
    let first = grant(&store, &key).await;
    for name in ["charge", "book"] {
        let step = Step {
            name: name.to_owned(),
            value: vec![1].into(),
        };
        store.record_step(&key, &first, &step, LEASE).await.unwrap();
    }
    file.sql()
        .execute_batch("PRAGMA foreign_keys = 0; DELETE FROM idempotency_record")
        .unwrap();

    let second = grant(&store, &key).await;
    assert_eq!((second.attempt, second.steps.len()), (1, 0));
    let step = Step {
        name: "mail".to_owned(),
        value: vec![2].into(),
    };
    store
        .record_step(&key, &second, &step, LEASE)
        .await
        .unwrap();
    assert_eq!(store.get(&key).await.unwrap().unwrap().steps, [step]);
}

/// And those of a record that is deleted here go with it.
#[tokio::test]
async fn steps_go_with_their_record() {
    let file = File::new();
    let store = file.store();
    let steps = || -> i64 {
        let count = "SELECT count(*) FROM idempotency_record_step";
        file.sql().query_row(count, [], |row| row.get(0)).unwrap()
    };
    let step = Step {
        name: "charge".to_owned(),
        value: vec![1].into(),
    };

    let completed = grant(&store, &key("completed")).await;
    store
        .record_step(&key("completed"), &completed, &step, LEASE)
        .await
        .unwrap();
    assert_eq!(steps(), 1);
    store
        .complete(&key("completed"), &completed, &value("paid"))
        .await
        .unwrap();
    assert_eq!(steps(), 0);

    let purged = grant(&store, &key("purged")).await;
    store
        .record_step(&key("purged"), &purged, &step, LEASE)
        .await
        .unwrap();
    file.sql()
        .execute("UPDATE idempotency_record SET expires_at = 1", [])
        .unwrap();
    assert_eq!(store.purge(10).await.unwrap().records, 2);
    assert_eq!(steps(), 0);
}

/// A record that came to its end under a newer version is for that version to remove.
#[tokio::test]
async fn a_purge_leaves_newer_formats_alone() {
    let file = File::new();
    let store = file.store();
    grant(&store, &key("newer")).await;
    file.sql()
        .execute(
            "UPDATE idempotency_record SET format = 2, expires_at = 1",
            [],
        )
        .unwrap();
    assert_eq!(store.purge(10).await.unwrap().records, 0);
    let claim = store.claim(&key("newer"), &request()).await.unwrap_err();
    assert!(
        matches!(claim, StoreError::Incompatible { ref format } if format == "2"),
        "{claim:?}"
    );
}

/// The file's integers go up to 2^63. What does not fit is refused rather than cut off.
#[tokio::test]
async fn a_duration_that_cannot_be_kept_is_refused() {
    let file = File::new();
    let store = file.store();
    let key = key("order");
    let mut endless = request();
    endless.keep = Duration::MAX;
    let claim = store.claim(&key, &endless).await.unwrap_err();
    assert!(matches!(claim, StoreError::Backend(_)), "{claim:?}");
    assert_eq!(store.get(&key).await.unwrap(), None);

    let grant = grant(&store, &key).await;
    let century = store.renew(&key, &grant, TTL * 24 * 36_500).await.unwrap();
    assert_eq!(century, Update::Applied);
}
