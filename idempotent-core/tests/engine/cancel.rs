//! A call whose future is dropped, at every await in turn.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use idempotent_core::{Ending, Error, OnCancel, OnConflict, State};
use tokio::task::yield_now;
use tokio::time::{advance, sleep};

use crate::world::{LEASE, World, settle};

/// Polls `future` `polls` times, and drops it. Returns its output if it was quicker.
async fn dropped_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        yield_now().await;
    }
    None
}

/// An operation with an await before its effect, and two after it.
async fn body(world: &World) -> Result<u32, Error> {
    yield_now().await;
    let times = world.effects.happen();
    yield_now().await;
    yield_now().await;
    Ok(times)
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_at_any_await_holds_its_key_until_the_lease_is_over() {
    let mut stopped = 0;
    for polls in 1.. {
        let world = World::new();
        let call = world.operation().run(body(&world));
        if dropped_after(polls, call).await.is_some() {
            break;
        }
        stopped += 1;
        settle().await;
        let happened = world.effects.count();
        let record = world.record().await.unwrap();
        assert_eq!(
            (record.state, record.ending),
            (State::InProgress, Some(Ending::Cancelled))
        );

        let operation = world.operation().on_conflict(OnConflict::Fail);
        let early = operation
            .run(async { Ok::<u32, Error>(world.effects.happen()) })
            .await;
        assert!(matches!(early, Err(Error::InProgress { .. })), "{early:?}");
        assert_eq!(
            world.effects.count(),
            happened,
            "a caller's timeout does not begin it again"
        );

        advance(LEASE).await;
        let retried = world.operation().run_with(async |attempt| {
            assert_eq!(attempt.previous(), Some(Ending::Cancelled));
            assert_eq!(attempt.number(), 2);
            Ok::<_, Error>(())
        });
        retried.await.unwrap();
    }
    assert_eq!(stopped, 3, "every await of the body was tried");
}

#[tokio::test(start_paused = true)]
async fn on_cancel_release_lets_a_retry_run_at_once() {
    for polls in 1..=3 {
        let world = World::new();
        let call = world
            .operation()
            .on_cancel(OnCancel::Release)
            .run(body(&world));
        assert!(dropped_after(polls, call).await.is_none());
        settle().await;
        let record = world.record().await.unwrap();
        assert_eq!(
            (record.state, record.ending),
            (State::Released, Some(Ending::Cancelled))
        );
        let retried = world
            .operation()
            .run_with(async |attempt| Ok::<_, Error>(attempt.number()));
        assert_eq!(retried.await.unwrap(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_detached_body_runs_on_and_is_recorded() {
    for polls in 1..=3 {
        let world = Arc::new(World::new());
        let inner = Arc::clone(&world);
        let call = world
            .operation()
            .run_detached(async move { body(&inner).await });
        assert!(dropped_after(polls, call).await.is_none());
        settle().await;
        assert_eq!(world.call().await.unwrap(), 1);
        assert_eq!(world.effects.count(), 1);
    }
}

/// Three timeouts in a row begin one effect, not three.
#[tokio::test(start_paused = true)]
async fn repeated_timeouts_within_one_lease_begin_the_effect_once() {
    let world = World::new();
    for _ in 0..3 {
        let call = world.operation().run(async {
            world.effects.happen();
            sleep(Duration::from_secs(60)).await;
            Ok::<u32, Error>(0)
        });
        assert!(
            tokio::time::timeout(Duration::from_secs(5), call)
                .await
                .is_err()
        );
    }
    assert_eq!(world.effects.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_detached_body_that_panics_panics_in_its_caller() {
    let world = Arc::new(World::new());
    let task = tokio::spawn({
        let world = Arc::clone(&world);
        async move {
            let body = async { panic!("in the detached body") };
            world
                .operation()
                .run_detached::<Result<u32, Error>>(body)
                .await
        }
    });
    let panic = task.await.unwrap_err().into_panic();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"in the detached body"));
    let record = world.record().await.unwrap();
    assert_eq!(record.ending, Some(Ending::Panicked));
}
