//! Steps whose rows are in the file that keeps the record.

use std::time::Duration;

use idempotent_core::{
    Attempt, Engine, Error, Inspect, Key, Lent, Query, State, TransactionalStore,
};
use idempotent_sqlite::SqliteTransaction;
use tokio::task::JoinSet;

use crate::transactions::{Commit, Failure, Flaky, Shop};

type Tx = Lent<SqliteTransaction>;

impl Shop {
    /// Writes two orders, each in a step of its own, and then fails as told.
    async fn two_steps<S>(&self, store: &S, fails: bool) -> Result<u32, Failure>
    where
        S: TransactionalStore<Transaction = SqliteTransaction>,
    {
        let body = async |run: Attempt| {
            let write = |id| move |tx: Tx| async move { self.write(&tx, id) };
            run.tx_step("first", store, write("1")).await?;
            let last = run.tx_step("second", store, write("2")).await?;
            if fails {
                Err(Failure::Declined)
            } else {
                Ok(last)
            }
        };
        self.operation("a").run_with(body).await
    }

    async fn key_record(&self) -> idempotent_core::Record {
        let key = Key::new("orders", "a").unwrap();
        self.store.get(&key).await.unwrap().unwrap()
    }
}

/// R15, S-6.
#[tokio::test]
async fn rows_and_their_step_are_committed_together_and_once() {
    let shop = &Shop::new();
    shop.two_steps(&shop.store, true).await.unwrap_err();
    assert_eq!((shop.runs(), shop.orders()), (2, 2));
    assert_eq!(shop.key_record().await.steps.len(), 2);
    assert_eq!(shop.two_steps(&shop.store, false).await.unwrap(), 2);
    assert_eq!((shop.runs(), shop.orders()), (2, 2));
    assert_eq!(shop.key_record().await.state, State::Completed);
}

/// R15, S-9.
#[tokio::test]
async fn an_error_of_a_step_rolls_its_rows_back_and_keeps_those_before() {
    let shop = &Shop::new();
    let body = async |run: Attempt| {
        let write = |id| move |tx: Tx| async move { shop.write(&tx, id) };
        run.tx_step("first", &shop.store, write("1")).await?;
        let fails = |tx: Tx| async move {
            shop.write(&tx, "2")?;
            Err::<u32, _>(Failure::Declined)
        };
        run.tx_step("second", &shop.store, fails).await
    };
    shop.operation("a").run_with(body).await.unwrap_err();
    assert_eq!(shop.orders(), 1);
    assert_eq!(shop.two_steps(&shop.store, false).await.unwrap(), 3);
    assert_eq!(shop.orders(), 2);
}

/// R15.
#[tokio::test]
async fn a_step_whose_commit_was_lost_or_not_answered_is_looked_up() {
    for (commit, runs) in [(Commit::Done, 2), (Commit::Lost, 5), (Commit::Refused, 5)] {
        let shop = &Shop::new();
        let flaky = Flaky::new(&shop.store, 3, commit);
        shop.two_steps(&flaky, false).await.unwrap();
        assert_eq!((shop.runs(), shop.orders()), (runs, 2), "{commit:?}");
    }
}

/// R15.
#[tokio::test]
async fn it_does_not_run_again_for_ever() {
    let shop = &Shop::new();
    let flaky = Flaky::new(&shop.store, 100, Commit::Refused);
    let error = shop.two_steps(&flaky, false).await.unwrap_err();
    assert!(error.to_string().contains("RolledBack"), "{error}");
    assert_eq!((shop.runs(), shop.orders()), (6, 0));
}

/// R10, R15.
#[tokio::test]
async fn a_late_owner_writes_no_rows() {
    let shop = &Shop::new();
    let body = async |run: Attempt| {
        let write = |id| move |tx: Tx| async move { shop.write(&tx, id) };
        run.tx_step("first", &shop.store, write("1")).await?;
        // Another attempt takes over.
        let takeover = "UPDATE idempotency_record SET fence = fence + 1";
        shop.database().execute_batch(takeover).unwrap();
        run.tx_step("second", &shop.store, write("2")).await
    };
    let error = shop.operation("a").run_with(body).await.unwrap_err();
    assert!(error.to_string().contains("LeaseLost"), "{error}");
    assert_eq!(shop.orders(), 1);
}

/// The record of the attempt is elsewhere, so that nothing could be committed with it.
#[tokio::test]
async fn a_step_in_another_file_is_rolled_back() {
    let (shop, other) = (&Shop::new(), &Shop::new());
    let error = shop.two_steps(&other.store, false).await.unwrap_err();
    assert!(error.to_string().contains("RolledBack"), "{error}");
    assert_eq!((shop.orders(), other.orders()), (0, 0));
}

/// R16: the last rows, the result and the end are one commit.
#[tokio::test]
async fn the_last_part_commits_with_the_result() {
    let shop = &Shop::new();
    let finish = async |id: &'static str| {
        let body = async |run: Attempt| {
            let write = |id| move |tx: Tx| async move { shop.write(&tx, id) };
            run.tx_step("first", &shop.store, write("1")).await?;
            run.finish_in(&shop.store, write("2")).await
        };
        shop.operation(id).run_with(body).await
    };
    assert_eq!(finish("a").await.unwrap(), 2);
    assert_eq!(finish("a").await.unwrap(), 2);
    assert_eq!((shop.runs(), shop.orders()), (2, 2));
    let record = shop.key_record().await;
    assert_eq!(
        (record.state, record.late, record.steps.len()),
        (State::Completed, 0, 0)
    );
}

/// R16: what is recorded is what counts, whatever the operation returns after that.
#[tokio::test]
async fn what_was_finished_with_is_the_result() {
    let shop = &Shop::new();
    let body = async |run: Attempt| {
        let write = |tx: Tx| async move { shop.write(&tx, "1") };
        let finished = run.finish_in(&shop.store, write).await?;
        let late = run.step("late", async |_| Ok::<_, Failure>(())).await;
        assert!(late.unwrap_err().to_string().contains("Ended"));
        Ok::<_, Failure>(finished + 41)
    };
    for _ in 0..2 {
        assert_eq!(shop.operation("a").run_with(body).await.unwrap(), 1);
    }
}

/// R16.
#[tokio::test]
async fn a_result_whose_commit_was_lost_or_not_answered_is_looked_up() {
    for (commit, runs) in [(Commit::Done, 1), (Commit::Lost, 4), (Commit::Refused, 4)] {
        let shop = &Shop::new();
        let flaky = Flaky::new(&shop.store, 3, commit);
        let body = async |run: Attempt| {
            let write = |tx: Tx| async move { shop.write(&tx, "1") };
            run.finish_in(&flaky, write).await
        };
        assert_eq!(shop.operation("a").run_with(body).await.unwrap(), runs);
        assert_eq!((shop.runs(), shop.orders()), (runs, 1), "{commit:?}");
        assert_eq!(shop.key_record().await.late, 0);
    }
}

/// An operation in one transaction has nothing to go on from.
#[tokio::test]
async fn an_operation_in_a_transaction_has_no_steps() {
    let shop = &Shop::new();
    let operation = shop.operation("a");
    let run = operation.run_in_with(&shop.store, |tx: Tx, run: Attempt| async move {
        shop.write(&tx, "1")?;
        run.step("mail", async |_| Ok::<_, Failure>(1)).await
    });
    let error = run.await.unwrap_err();
    assert!(error.to_string().contains("InTransaction"), "{error}");
    assert_eq!(shop.orders(), 0);
}

#[tokio::test]
async fn without_protection_a_step_in_a_transaction_just_commits() {
    let shop = &Shop::with(|engine| engine.enabled(false));
    shop.two_steps(&shop.store, false).await.unwrap();
    assert_eq!(shop.orders(), 2);
}

/// R15, S-18.
#[tokio::test(flavor = "multi_thread")]
async fn of_32_concurrent_callers_each_step_is_done_once() {
    let shop = std::sync::Arc::new(Shop::new());
    let mut callers = JoinSet::new();
    for _ in 0..32 {
        let shop = std::sync::Arc::clone(&shop);
        callers.spawn(async move {
            // Some fail after their steps, and others go on from there.
            shop.two_steps(&shop.store, shop.runs() < 2).await.ok()
        });
    }
    let answers = callers.join_all().await;
    assert!(answers.iter().flatten().all(|answer| *answer == 2));
    shop.two_steps(&shop.store, false).await.unwrap();
    assert_eq!((shop.runs(), shop.orders()), (2, 2));
}

/// What a completer looks for: unfinished operations that have recorded something.
#[tokio::test]
async fn only_unfinished_operations_with_steps_are_listed() {
    let shop = &Shop::new();
    shop.create("done").await.unwrap();
    let engine = Engine::new(shop.store.clone());
    for (id, fails) in [("1", true), ("2", false)] {
        let run = engine
            .operation("orders")
            .key(id)
            .run_with(async |run: Attempt| {
                run.value("n", || 1).await?;
                if fails {
                    Err(Error::ResultUnavailable)
                } else {
                    Ok(())
                }
            });
        _ = run.await;
    }
    let page = shop.store.list(&Query::all().with_steps()).await.unwrap();
    let keys: Vec<_> = page.entries.iter().map(|entry| entry.key.value()).collect();
    assert_eq!(keys, ["1"]);
    let plan = "EXPLAIN QUERY PLAN SELECT key FROM idempotency_record WHERE key IN \
                (SELECT key FROM idempotency_record_step WHERE key > '' AND key < x'')";
    let database = shop.database();
    let mut plan = database.prepare(plan).unwrap();
    let steps = plan.query_map((), |row| row.get::<_, String>(3)).unwrap();
    let steps: Vec<_> = steps.map(Result::unwrap).collect();
    assert!(
        steps
            .iter()
            .all(|step| !step.contains("SCAN idempotency_record")),
        "{steps:?}"
    );
}

/// Steps renew the lease by themselves.
#[tokio::test]
async fn a_step_renews_the_lease() {
    let shop = &Shop::new();
    let lease = Duration::from_secs(60);
    let operation = shop.operation("a").lease(lease);
    let run = operation.run_with(async |run: Attempt| {
        let before = shop.key_record().await.expires_at;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let write = |tx: Tx| async move { shop.write(&tx, "1") };
        run.tx_step("first", &shop.store, write).await?;
        assert!(shop.key_record().await.expires_at > before);
        Ok::<_, Failure>(())
    });
    run.await.unwrap();
}
