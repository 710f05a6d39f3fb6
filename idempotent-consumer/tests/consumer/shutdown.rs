//! A consumer is told to stop.

use std::sync::Arc;
use std::time::Duration;

use idempotent_consumer::{Context, EventKind, Message};
use idempotent_core::{Ending, State};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::world::{Effects, World, message};

const SECOND: Duration = Duration::from_secs(1);

/// M58: what has begun may finish, and nothing else begins.
#[tokio::test(start_paused = true)]
async fn handlers_finish_and_nothing_is_fetched_any_more() {
    let world = World::new();
    let consumer = world.builder().concurrency(4).build().unwrap();
    let slow = world.handling(&consumer, |run| async move {
        sleep(SECOND * 10).await;
        Ok(run)
    });
    for number in 0..20 {
        world.broker.publish(message(&number.to_string()));
    }
    let began = Instant::now();
    slow.run(world.broker.source(), sleep(SECOND))
        .await
        .unwrap();
    assert_eq!(began.elapsed(), SECOND * 10);
    assert_eq!((world.effects.count(), world.broker.counts().acked), (4, 4));

    let rest = world.counting(&consumer);
    rest.run(world.broker.source(), world.broker.idle())
        .await
        .unwrap();
    assert_eq!(
        (world.effects.count(), world.broker.counts().acked),
        (20, 20)
    );
}

/// M20, M58: claims are given up uncounted, deliveries are left to others.
#[tokio::test(start_paused = true)]
async fn a_handler_that_does_not_finish_is_told_then_dropped_and_has_not_failed() {
    let world = World::new();
    let consumer = world.builder().drain(SECOND * 30).build().unwrap();
    let told = Effects::default();
    let tells = told.clone();
    let hanging = consumer.leased(move |_: Message, context: Context| {
        let told = tells.clone();
        async move {
            context.cancelled().await;
            told.happen();
            std::future::pending::<()>().await;
            Ok(())
        }
    });
    world.broker.publish(message("1"));
    let began = Instant::now();
    hanging
        .run(world.broker.source(), sleep(SECOND))
        .await
        .unwrap();
    assert!(began.elapsed() >= SECOND * 31 && began.elapsed() <= SECOND * 33);
    assert_eq!(told.count(), 1);

    let record = world.record("1").await.unwrap();
    assert_eq!((record.state, record.failures), (State::Released, 0));
    assert_eq!(record.ending, Some(Ending::Cancelled));
    let counts = world.broker.counts();
    assert_eq!(
        (counts.acked, counts.retried, counts.retried_uncounted),
        (0, 0, 0)
    );

    let other = world.counting(&consumer);
    other
        .run(world.broker.source(), world.broker.idle())
        .await
        .unwrap();
    assert_eq!(world.broker.counts().acked, 1);
}

/// M58: a handler that gives up because it was told to has not failed.
#[tokio::test(start_paused = true)]
async fn a_handler_that_stops_when_it_is_told_has_not_failed() {
    let world = World::new();
    let consumer = world.builder().drain(SECOND).build().unwrap();
    let stopping = consumer.leased(|_: Message, context: Context| async move {
        context.cancelled().await;
        Err::<(), _>(std::io::Error::other("told to stop").into())
    });
    world.broker.publish(message("1"));
    stopping
        .run(world.broker.source(), sleep(SECOND))
        .await
        .unwrap();
    assert_eq!(consumer.counts().of(EventKind::Cancelled), 1);
    assert_eq!(world.failures("1").await, 0);
    assert_eq!(world.broker.counts().retried, 0);
}

/// M58: what is held for later is not waited for.
#[tokio::test(start_paused = true)]
async fn what_is_held_is_left_to_others() {
    let world = World::with(idempotent_consumer::TestBroker::new().without_delays());
    let consumer = world.consumer();
    let failed = Arc::new(Notify::new());
    let tells = Arc::clone(&failed);
    let failing = world.handling(&consumer, move |_| {
        tells.notify_one();
        let later = idempotent_consumer::HandlerError::retryable("no").after(SECOND * 200);
        async { Err(later) }
    });
    world.broker.publish(message("1"));
    let began = Instant::now();
    let told = async {
        failed.notified().await;
        sleep(SECOND).await;
    };
    failing.run(world.broker.source(), told).await.unwrap();
    assert!(began.elapsed() <= SECOND * 2);
    assert_eq!(world.broker.counts().retried, 0);
}
