use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use idempotent_core::{Error, EventKind, OnConflict, Outcome};
use tokio::sync::Barrier;
use tokio::time::{Instant, advance, sleep};

use crate::world::{World, settle};

/// 64 real tasks on several threads: one runs, all get its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_callers_one_runs_and_all_get_its_answer() {
    for round in 0..50_u32 {
        let (world, barrier) = (Arc::new(World::new()), Arc::new(Barrier::new(64)));
        let calls: Vec<_> = (0..64)
            .map(|_| {
                let (world, barrier) = (Arc::clone(&world), Arc::clone(&barrier));
                tokio::spawn(async move {
                    barrier.wait().await;
                    let body = async {
                        sleep(Duration::from_millis(u64::from(round % 3))).await;
                        Ok::<_, Error>(world.effects.happen())
                    };
                    world.operation().run(body).await
                })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap(), 1);
        }
        assert_eq!(world.effects.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_woken_by_the_completion_and_not_by_a_poll() {
    let world = World::new();
    let owner = world.operation().run(async {
        sleep(Duration::from_millis(20_123)).await;
        Ok::<_, Error>(world.effects.happen())
    });
    let waiter = async {
        sleep(Duration::from_millis(1)).await;
        assert_eq!(world.call().await.unwrap(), 1);
        Instant::now()
    };
    let (answer, woken) = tokio::join!(
        async {
            let answer = owner.await;
            (answer, Instant::now())
        },
        waiter
    );
    assert_eq!(answer.0.unwrap(), 1);
    assert!(
        woken - answer.1 < Duration::from_millis(5),
        "{:?}",
        woken - answer.1
    );
    assert!(world.events.count(EventKind::Waited) >= 1);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_gives_up_in_time_and_leaves_the_running_record_alone() {
    let world = World::new();
    let owner = world.operation().run(async {
        sleep(Duration::from_secs(60)).await;
        Ok::<_, Error>(world.effects.happen())
    });
    let waiter = async {
        sleep(Duration::from_secs(1)).await;
        let began = Instant::now();
        let operation = world
            .operation()
            .on_conflict(OnConflict::Wait(Duration::from_secs(10)));
        let error = operation
            .run(async { Ok::<u32, Error>(0) })
            .await
            .unwrap_err();
        assert!(matches!(error, Error::InProgress { retry_after } if !retry_after.is_zero()));
        assert!(error.is_retryable());
        let waited = began.elapsed();
        assert!(waited >= Duration::from_secs(10), "{waited:?}");
        assert!(waited < Duration::from_millis(10_100), "{waited:?}");
    };
    let (answer, ()) = tokio::join!(owner, waiter);
    assert_eq!(answer.unwrap(), 1, "the owner was not disturbed");
}

/// Waiters of one process queue behind one another: each keeps its own limit.
#[tokio::test(start_paused = true)]
async fn each_of_many_waiters_gives_up_at_its_own_limit() {
    let world = World::new();
    let owner = world.operation().run(async {
        sleep(Duration::from_secs(60)).await;
        Ok::<_, Error>(1)
    });
    let waiter = |limit: u64| {
        let world = &world;
        async move {
            sleep(Duration::from_secs(1)).await;
            let began = Instant::now();
            let limit = Duration::from_secs(limit);
            let operation = world.operation().on_conflict(OnConflict::Wait(limit));
            let error = operation
                .run(async { Ok::<u32, Error>(0) })
                .await
                .unwrap_err();
            let Error::InProgress { retry_after } = error else {
                panic!("{error:?}")
            };
            assert!(
                retry_after > Duration::from_secs(5),
                "it knows the lease: {retry_after:?}"
            );
            let late = began.elapsed().saturating_sub(limit);
            assert!(late < Duration::from_millis(100), "{late:?}");
        }
    };
    let (answer, (), (), ()) = tokio::join!(owner, waiter(20), waiter(2), waiter(7));
    assert_eq!(answer.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn on_conflict_fail_answers_at_once_with_the_rest_of_the_lease() {
    let world = World::new();
    let owner = world.operation().run(async {
        sleep(Duration::from_secs(5)).await;
        Ok::<_, Error>(world.effects.happen())
    });
    let other = async {
        sleep(Duration::from_secs(1)).await;
        let began = Instant::now();
        let operation = world.operation().on_conflict(OnConflict::Fail);
        let error = operation
            .run(async { Ok::<u32, Error>(0) })
            .await
            .unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_secs(29)));
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(world.events.count(EventKind::Conflict), 1);
    };
    let (answer, ()) = tokio::join!(owner, other);
    assert_eq!(answer.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn if_the_owner_fails_exactly_one_waiter_takes_over_and_the_others_get_its_answer() {
    let world = Arc::new(World::new());
    let runs = Arc::new(AtomicU32::new(0));
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let (world, runs) = (Arc::clone(&world), Arc::clone(&runs));
            tokio::spawn(async move {
                let body = async {
                    sleep(Duration::from_secs(1)).await;
                    match runs.fetch_add(1, Ordering::SeqCst) {
                        0 => Err(Error::ResultUnavailable),
                        _ => Ok(Outcome::new(world.effects.happen())),
                    }
                };
                world.operation().run(body).await
            })
        })
        .collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 1);
    let values: Vec<_> = answers.iter().flatten().collect();
    assert!(values.iter().all(|outcome| *outcome.value() == 1));
    assert_eq!(
        values
            .iter()
            .filter(|outcome| outcome.is_executed())
            .count(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_waiter_takes_over_as_soon_as_a_silent_owners_lease_is_over() {
    let world = Arc::new(World::new());
    let owner = tokio::spawn({
        let world = Arc::clone(&world);
        async move {
            world
                .operation()
                .run(std::future::pending::<Result<u32, Error>>())
                .await
        }
    });
    settle().await;
    owner.abort();
    settle().await;
    let began = Instant::now();
    assert_eq!(world.call().await.unwrap(), 1);
    let waited = began.elapsed();
    assert!(waited >= Duration::from_secs(30) && waited < Duration::from_millis(30_100));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_whose_future_is_dropped_holds_nobody_up() {
    let world = Arc::new(World::new());
    let owner = tokio::spawn({
        let world = Arc::clone(&world);
        async move {
            let body = async {
                sleep(Duration::from_secs(10)).await;
                Ok::<_, Error>(world.effects.happen())
            };
            world.operation().run(body).await
        }
    });
    settle().await;
    let first = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.call().await }
    });
    settle().await;
    let second = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.call().await }
    });
    settle().await;
    first.abort();
    advance(Duration::from_secs(10)).await;
    assert_eq!(owner.await.unwrap().unwrap(), 1);
    assert_eq!(second.await.unwrap().unwrap(), 1);
}
