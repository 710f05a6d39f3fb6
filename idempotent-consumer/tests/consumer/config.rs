//! Choices that do not fit together are refused before anything is consumed.

use std::time::Duration;

use idempotent_consumer::{
    Backoff, Builder, Capabilities, ConfigError, Consumer, RunError, TestBroker,
};
use idempotent_core::{Engine, MemoryStore};

use crate::world::{World, message};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn builder() -> Builder {
    Consumer::builder(Engine::new(MemoryStore::new()), "test")
}

fn broker() -> Capabilities {
    Capabilities {
        delays_retries: true,
        ..Capabilities::default()
    }
}

/// M34: the message names both.
#[test]
fn a_lease_is_shorter_than_what_the_broker_gives_a_delivery() {
    let broker = Capabilities {
        visibility: Some(SECOND * 30),
        ..broker()
    };
    let error = builder()
        .broker(broker)
        .lease(SECOND * 30)
        .build()
        .unwrap_err();
    assert!(matches!(error, ConfigError::Lease { .. }));
    let text = error.to_string();
    assert!(
        text.contains("30s outlives") && text.contains("gives 30s"),
        "{text}"
    );
    assert!(builder().broker(broker).lease(SECOND * 29).build().is_ok());
    assert!(
        builder().broker(broker).build().is_ok(),
        "half of it is the default"
    );
}

/// M34: whoever does not say which broker it is finds out before the first message.
#[tokio::test(start_paused = true)]
async fn a_consumer_does_not_run_on_a_broker_that_it_does_not_fit() {
    let world = World::with(TestBroker::new().with_visibility(SECOND * 10));
    world.broker.publish(message("1"));
    let worker = world.counting(&world.consumer());
    let ended = worker
        .run(world.broker.source(), std::future::pending())
        .await;
    assert!(matches!(
        ended,
        Err(RunError::Config(ConfigError::Lease { .. }))
    ));
    assert_eq!(world.broker.counts().delivered, 0);
}

/// M42, M43.
#[test]
fn a_record_outlives_the_last_delivery_of_its_message() {
    let month = Capabilities {
        max_age: Some(DAY * 30),
        ..broker()
    };
    let error = builder().broker(month).build().unwrap_err();
    assert!(
        matches!(error, ConfigError::Retention { .. }),
        "a week is the default"
    );
    assert!(builder().broker(month).retention(DAY * 31).build().is_ok());
    assert!(builder().queue_ttl(DAY * 30).build().is_err());
    assert!(builder().queue_ttl(DAY * 6).build().is_ok());

    // Ten attempts with up to five minutes between them.
    assert!(builder().retention(SECOND * 3000).build().is_ok());
    assert!(builder().retention(SECOND * 2999).build().is_err());
    let hours = Backoff::new(SECOND, HOUR);
    assert!(builder().retention(HOUR).backoff(hours).build().is_err());

    // And never less than a minute.
    let short = builder().backoff(Backoff::new(Duration::ZERO, Duration::ZERO));
    assert!(short.retention(SECOND * 59).build().is_err());
}

/// M50.
#[test]
fn there_are_no_more_handlers_than_deliveries() {
    let with = |prefetch, concurrency| {
        let broker = Capabilities {
            prefetch: Some(prefetch),
            ..broker()
        };
        builder().broker(broker).concurrency(concurrency).build()
    };
    assert!(with(4, 4).is_ok());
    assert!(matches!(with(4, 5), Err(ConfigError::Concurrency { .. })));
    assert!(matches!(with(4, 0), Err(ConfigError::Concurrency { .. })));
    assert!(matches!(with(0, 1), Err(ConfigError::Prefetch)));
    assert!(
        builder().concurrency(32).build().is_ok(),
        "32 deliveries are the default"
    );
    assert!(builder().concurrency(33).build().is_err());
}

/// M51: a broker that gives up first does so in silence.
#[test]
fn the_broker_delivers_more_often_than_the_consumer_tries() {
    let with = |deliveries| {
        let broker = Capabilities {
            max_deliver: Some(deliveries),
            ..broker()
        };
        builder().broker(broker).max_attempts(10).build()
    };
    assert!(matches!(
        with(10),
        Err(ConfigError::MaxDeliver { least: 20, .. })
    ));
    assert!(with(20).is_ok());
}

#[test]
fn a_scope_is_a_text_for_a_key() {
    let engine = || Engine::new(MemoryStore::new());
    let of = |scope: &str| Consumer::builder(engine(), scope).build();
    assert!(matches!(of(""), Err(ConfigError::Scope(_))));
    assert!(matches!(of(&"x".repeat(256)), Err(ConfigError::Scope(_))));
    assert!(matches!(
        builder().max_attempts(0).build(),
        Err(ConfigError::Attempts)
    ));
}
