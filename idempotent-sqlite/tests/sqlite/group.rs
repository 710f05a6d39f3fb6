//! Operations that share a commit.

use std::fs;
use std::time::Duration;

use idempotent_core::protocol::{Claim, Update};
use idempotent_core::{Inspect, State, Store, StoreError};
use idempotent_sqlite::SqliteStore;
use rusqlite::Connection;
use tokio::task::JoinHandle;

use crate::common::{File, LEASE, grant, key, request, value};

type Answer = Result<Claim, StoreError>;

/// Claims `keys` at once, all of which wait behind one that waits for a lock that this holds.
async fn queue(file: &File, store: &SqliteStore, keys: &[String]) -> Vec<JoinHandle<Answer>> {
    let blocker = file.sql();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let first = claim(store, "first");
    settle().await;
    let claims = keys.iter().map(|name| claim(store, name)).collect();
    settle().await;
    blocker.execute_batch("ROLLBACK").unwrap();
    assert!(matches!(first.await.unwrap(), Ok(Claim::Granted(_))));
    claims
}

fn claim(store: &SqliteStore, name: &str) -> JoinHandle<Answer> {
    let (store, key) = (store.clone(), key(name));
    tokio::spawn(async move { store.claim(&key, &request()).await })
}

/// Gives the store's thread the time to take up what it was sent. It has no sign to wait for.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// How many transactions are in the write-ahead log: the frames that end one say so.
fn commits(file: &File) -> usize {
    const HEADER: usize = 32;
    const FRAME: usize = 24 + 4096;
    let log = fs::read(file.path().with_extension("db-wal")).unwrap();
    log[HEADER..]
        .chunks_exact(FRAME)
        .filter(|frame| frame[4..8] != [0; 4])
        .count()
}

#[tokio::test]
async fn concurrent_claims_share_a_commit() {
    let file = File::new();
    let store = file.store();
    let before = commits(&file);
    for claim in queue(&file, &store, &names(200)).await {
        assert!(matches!(claim.await.unwrap(), Ok(Claim::Granted(_))));
    }
    let commits = commits(&file) - before;
    assert!((1..=4).contains(&commits), "not one each: {commits}");
}

/// T44: whether the failure leaves the transaction open, or ends it silently.
#[tokio::test]
async fn a_failing_operation_does_not_fail_its_neighbours() {
    for how in ["ABORT", "FAIL", "ROLLBACK"] {
        let file = File::new();
        let store = file.store();
        let trigger = format!(
            "CREATE TRIGGER poison BEFORE INSERT ON idempotency_record WHEN NEW.key = 'test/13'
             BEGIN SELECT RAISE({how}, 'refused'); END"
        );
        file.sql().execute_batch(&trigger).unwrap();

        for (name, claim) in names(32).iter().zip(queue(&file, &store, &names(32)).await) {
            let claim = claim.await.unwrap();
            let record = store.get(&key(name)).await.unwrap();
            if name == "13" {
                assert!(matches!(claim, Err(StoreError::Backend(_))), "{claim:?}");
                assert_eq!(record, None);
            } else {
                let Ok(Claim::Granted(grant)) = claim else {
                    panic!("{how}, {name}: {claim:?}")
                };
                assert_eq!(record.unwrap().owner, grant.owner);
            }
        }
    }
}

/// A damaged record is refused without a second try for its neighbours.
#[tokio::test]
async fn a_damaged_record_does_not_fail_its_neighbours() {
    let file = File::new();
    let store = file.store();
    grant(&store, &key("13")).await;
    file.sql()
        .execute("UPDATE idempotency_record SET state = '?'", [])
        .unwrap();

    for (name, claim) in names(32).iter().zip(queue(&file, &store, &names(32)).await) {
        match claim.await.unwrap() {
            Ok(Claim::Granted(_)) => assert_ne!(name, "13"),
            Err(StoreError::Corrupt(_)) => assert_eq!(name, "13"),
            claim => panic!("{name}: {claim:?}"),
        }
    }
}

/// C14: the call runs to its end though its future is dropped.
#[tokio::test]
async fn an_operation_that_was_sent_is_done_though_its_caller_has_gone() {
    let file = File::new();
    let store = file.store();
    let grant = grant(&store, &key("order")).await;

    let blocker = file.sql();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let key = key("order");
    let completion = value("paid");
    let call = store.complete(&key, &grant, &completion);
    let answer = tokio::time::timeout(Duration::from_millis(50), call).await;
    assert!(answer.is_err(), "the lock is not free: {answer:?}");
    blocker.execute_batch("ROLLBACK").unwrap();

    // It comes before this one in the queue.
    let repeated = store.complete(&key, &grant, &completion).await.unwrap();
    assert_eq!(repeated, Update::Repeated);
    assert_eq!(
        store.get(&key).await.unwrap().unwrap().state,
        State::Completed
    );
}

/// The file's write lock is not needed to find that there is nothing to write.
#[tokio::test]
async fn replays_and_conflicts_go_on_while_another_process_holds_the_lock() {
    let file = File::new();
    let store = file.store();
    let finished = grant(&store, &key("finished")).await;
    store
        .complete(&key("finished"), &finished, &value("paid"))
        .await
        .unwrap();
    let running = grant(&store, &key("running")).await;

    let blocker = file.sql();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let replay = store.claim(&key("finished"), &request()).await.unwrap();
    assert!(matches!(replay, Claim::Done(_)), "{replay:?}");
    let conflict = store.claim(&key("running"), &request()).await.unwrap();
    assert!(matches!(conflict, Claim::Busy { .. }), "{conflict:?}");

    // What has to write waits, and says in the end that it may be tried again.
    let error = store
        .renew(&key("running"), &running, LEASE)
        .await
        .unwrap_err();
    assert!(
        matches!(error, StoreError::Unavailable(_)) && error.is_transient(),
        "{error:?}"
    );
    blocker.execute_batch("ROLLBACK").unwrap();
    let renewed = store.renew(&key("running"), &running, LEASE).await.unwrap();
    assert_eq!(renewed, Update::Applied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_concurrent_claims_one_wins() {
    let file = File::new();
    // Half of them through a connection of its own, as another process would have.
    let stores = [file.store(), file.store()];
    let claims: Vec<_> = (0..64)
        .map(|number| claim(&stores[number % 2], "order"))
        .collect();
    let mut granted = 0;
    for claim in claims {
        match claim.await.unwrap().unwrap() {
            Claim::Granted(_) => granted += 1,
            Claim::Busy { attempt, .. } => assert_eq!(attempt, 1),
            claim => panic!("{claim:?}"),
        }
    }
    assert_eq!(granted, 1);
}

/// Nothing is left behind by the last handle, and nothing is lost with it.
#[tokio::test]
async fn records_outlive_the_last_handle() {
    let file = File::new();
    let (first, steps) = (file.store(), ["charge", "book"]);
    let grant = grant(&first, &key("order")).await;
    for name in steps {
        let step = idempotent_core::Step {
            name: name.to_owned(),
            value: vec![1].into(),
        };
        first
            .record_step(&key("order"), &grant, &step, LEASE)
            .await
            .unwrap();
    }
    drop(first);

    let second = file.store();
    let record = second.get(&key("order")).await.unwrap().unwrap();
    assert_eq!(record.owner, grant.owner);
    assert!(record.steps.iter().map(|step| step.name.as_str()).eq(steps));
    let update = second
        .complete(&key("order"), &grant, &value("paid"))
        .await
        .unwrap();
    assert_eq!(update, Update::Applied);
    drop(second);

    // The thread ends by itself: the last connection to be closed takes the log away.
    let log = file.path().with_extension("db-wal");
    for _ in 0..500 {
        if !log.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the file is still open");
}

/// A file that was opened by nobody but a plain connection is as the store left it.
#[test]
fn the_file_is_in_wal_mode() {
    let file = File::new();
    drop(file.store());
    let sql: Connection = file.sql();
    let mode: String = sql
        .query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
}
