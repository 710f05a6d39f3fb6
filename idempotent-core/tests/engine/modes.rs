//! Switches: off, shadow, near cache.

use std::time::Duration;

use idempotent_core::{EngineBuilder, Error, EventKind, Inspect, Outcome, Provenance};
use tokio::time::advance;

use crate::world::{World, key};

#[tokio::test]
async fn a_disabled_engine_runs_everything_and_warns_each_time() {
    let world = World::with(|engine| engine.enabled(false));
    assert_eq!(world.call().await.unwrap(), 1);
    assert_eq!(world.call().await.unwrap(), 2);
    assert_eq!(world.events.count(EventKind::Unprotected), 2);
    assert!(world.record().await.is_none());
}

#[tokio::test]
async fn a_shadow_records_and_runs_all_the_same() {
    let world = World::with(EngineBuilder::shadow);
    let call = || {
        let body = async { Ok::<_, Error>(Outcome::new(world.effects.happen())) };
        world.operation().run(body)
    };
    assert!(call().await.unwrap().is_executed());
    let second = call().await.unwrap();
    assert_eq!(
        (second.provenance(), second.into_value()),
        (Provenance::Unprotected, 2)
    );
    assert_eq!(world.events.count(EventKind::WouldReplay), 1);
    assert!(world.record().await.unwrap().state.is_finished());
}

#[tokio::test]
async fn a_shadow_runs_where_a_mismatch_would_have_been_refused() {
    let world = World::with(EngineBuilder::shadow);
    for amount in [1, 2] {
        let operation = world.operation().fingerprint(&amount);
        operation
            .run(async { Ok::<_, Error>(world.effects.happen()) })
            .await
            .unwrap();
    }
    assert_eq!(world.effects.count(), 2);
    assert_eq!(world.events.count(EventKind::Mismatch), 1);
}

#[tokio::test(start_paused = true)]
async fn the_near_cache_replays_without_the_store_and_not_beyond_the_ttl() {
    let ttl = Duration::from_secs(60);
    let world = World::with(|engine| engine.near_cache(10).ttl(ttl));
    assert_eq!(world.call().await.unwrap(), 1);
    world.store.delete(&key()).await.unwrap();
    advance(ttl.saturating_sub(Duration::from_millis(1))).await;
    assert_eq!(world.call().await.unwrap(), 1);
    advance(Duration::from_millis(1)).await;
    assert_eq!(world.call().await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_another_process_recorded_is_near_for_the_rest_of_its_ttl() {
    let ttl = Duration::from_secs(60);
    let world = World::with(|engine| engine.ttl(ttl));
    assert_eq!(world.call().await.unwrap(), 1);
    advance(Duration::from_secs(50)).await;

    let other = idempotent_core::Engine::builder(world.store.clone())
        .near_cache(10)
        .build();
    let call = || {
        let operation = other.operation("test").key("key");
        operation.run(async { Ok::<_, Error>(world.effects.happen()) })
    };
    assert_eq!(call().await.unwrap(), 1);
    world.store.delete(&key()).await.unwrap();
    assert_eq!(call().await.unwrap(), 1);
    advance(Duration::from_secs(10)).await;
    assert_eq!(call().await.unwrap(), 2);
}

#[tokio::test]
async fn the_near_cache_checks_the_fingerprint_and_a_refused_request_leaves_nothing_in_it() {
    let world = World::with(|engine| engine.near_cache(10));
    let call = |amount: u32| {
        let operation = world.operation().fingerprint(&amount);
        operation.run(async { Ok::<_, Error>(world.effects.happen()) })
    };
    assert_eq!(call(5).await.unwrap(), 1);
    for _ in 0..2 {
        assert!(matches!(call(6).await, Err(Error::FingerprintMismatch)));
        assert_eq!(call(5).await.unwrap(), 1);
    }
}
