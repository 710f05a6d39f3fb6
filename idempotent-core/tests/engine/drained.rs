//! The end of a program waits for what nobody else waits for.

use std::time::Duration;

use idempotent_core::{Error, OnCancel, State};
use idempotent_testkit::faults::Op;
use tokio::time::{Instant, sleep, timeout};

use crate::world::{World, settle};

const HOUR: Duration = Duration::from_secs(60 * 60);

#[tokio::test(start_paused = true)]
async fn nothing_to_wait_for_takes_no_time() {
    let world = World::new();
    world.call().await.unwrap();
    let began = Instant::now();
    world.engine.drained().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_detached_operation_is_recorded_before_the_engine_is_drained() {
    let world = World::new();
    let effects = world.effects.clone();
    let call = world.operation().run_detached(async move {
        sleep(Duration::from_secs(600)).await;
        Ok::<_, Error>(effects.happen())
    });
    assert!(timeout(Duration::from_secs(1), call).await.is_err());
    world.engine.drained().await;
    assert_eq!(world.effects.count(), 1);
    assert_eq!(world.record().await.unwrap().state, State::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_recorded_late_is_waited_for() {
    let world = World::new();
    world.faults.on(Op::Complete).fail();
    assert!(world.call().await.is_err());
    assert!(
        timeout(Duration::from_secs(60), world.engine.drained())
            .await
            .is_err()
    );
    world.faults.clear();
    timeout(HOUR, world.engine.drained()).await.unwrap();
    assert_eq!(world.record().await.unwrap().state, State::Completed);
}

#[tokio::test(start_paused = true)]
async fn the_message_of_a_dropped_call_is_waited_for() {
    let world = World::new();
    world.faults.on(Op::Release).delay(Duration::from_secs(5));
    let call = world
        .operation()
        .on_cancel(OnCancel::Release)
        .run(async { std::future::pending::<Result<u32, Error>>().await });
    assert!(timeout(Duration::from_secs(1), call).await.is_err());
    settle().await;
    assert_eq!(world.record().await.unwrap().state, State::InProgress);
    timeout(HOUR, world.engine.drained()).await.unwrap();
    assert_eq!(world.record().await.unwrap().state, State::Released);
}
