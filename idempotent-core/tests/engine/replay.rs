use std::time::Duration;

use idempotent_core::{
    Error, EventKind, Fingerprint, Inspect, Key, KeyError, Outcome, Provenance, State,
};

use crate::world::{World, named};

#[tokio::test]
async fn the_second_call_returns_the_first_calls_answer() {
    let world = World::new();
    assert_eq!(world.call().await.unwrap(), 1);
    assert_eq!(world.call().await.unwrap(), 1);
    assert_eq!(world.effects.count(), 1);
    assert_eq!(world.events.count(EventKind::Executed), 1);
    assert_eq!(world.events.count(EventKind::Replayed), 1);
}

#[tokio::test]
async fn other_keys_and_other_scopes_are_other_calls() {
    let world = World::new();
    world.call().await.unwrap();
    let other_key = world.engine.operation("test").key("other");
    assert_eq!(
        other_key
            .run(async { Ok::<_, Error>(world.effects.happen()) })
            .await
            .unwrap(),
        2
    );
    let other_scope = named(world.engine.operation("test2"));
    assert_eq!(
        other_scope
            .run(async { Ok::<_, Error>(world.effects.happen()) })
            .await
            .unwrap(),
        3
    );
}

#[tokio::test]
async fn a_key_used_again_with_other_arguments_is_refused_and_the_record_stays() {
    let world = World::new();
    let call = |amount: u32| {
        let operation = world.operation().fingerprint(&amount);
        operation.run(async { Ok::<_, Error>(world.effects.happen()) })
    };
    assert_eq!(call(5).await.unwrap(), 1);
    let record = world.record().await;
    assert!(matches!(call(6).await, Err(Error::FingerprintMismatch)));
    assert_eq!(world.record().await, record);
    assert_eq!(call(5).await.unwrap(), 1);
    assert_eq!(world.events.count(EventKind::Mismatch), 1);
}

#[tokio::test(start_paused = true)]
async fn a_mismatch_wins_over_an_attempt_in_progress() {
    let world = World::new();
    let slow = world.operation().fingerprint("five").run(async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok::<_, Error>(world.effects.happen())
    });
    let other = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let began = tokio::time::Instant::now();
        let operation = world.operation().fingerprint("six");
        let answer = operation
            .run(async { Ok::<_, Error>(world.effects.happen()) })
            .await;
        assert!(
            matches!(answer, Err(Error::FingerprintMismatch)),
            "{answer:?}"
        );
        assert!(
            began.elapsed() < Duration::from_millis(10),
            "it did not wait"
        );
    };
    let (answer, ()) = tokio::join!(slow, other);
    assert_eq!(answer.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_its_ttl_a_key_is_new() {
    let world = World::with(|engine| engine.ttl(Duration::from_secs(60)));
    assert_eq!(world.call().await.unwrap(), 1);
    tokio::time::advance(Duration::from_millis(59_999)).await;
    assert_eq!(world.call().await.unwrap(), 1);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(world.call().await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_ttl_counts_from_completion() {
    let world = World::with(|engine| engine.ttl(Duration::from_secs(60)));
    let slow = world.operation().run(async {
        tokio::time::sleep(Duration::from_secs(300)).await;
        Ok::<_, Error>(world.effects.happen())
    });
    slow.await.unwrap();
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(world.call().await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_tells_how_its_value_came_about() {
    let world = World::new();
    let call = || {
        let body = async { Ok::<_, Error>(Outcome::from(world.effects.happen())) };
        world.operation().ttl(Duration::from_secs(60)).run(body)
    };
    let first = call().await.unwrap();
    assert_eq!(
        first.provenance(),
        Provenance::Executed {
            attempt: 1,
            kept: true
        }
    );
    tokio::time::advance(Duration::from_secs(10)).await;
    let second = call().await.unwrap();
    let Provenance::Replayed { since, until } = second.provenance() else {
        panic!("{second:?}");
    };
    assert_eq!(until.since(since), Duration::from_secs(60));
    assert_eq!((*first.value(), second.into_value()), (1, 1));
}

#[tokio::test]
async fn units_and_options_are_results_like_any_other() {
    let world = World::new();
    let unit = || {
        let body = async {
            world.effects.happen();
            Ok::<_, Error>(())
        };
        world.engine.operation("unit").key("key").run(body)
    };
    unit().await.unwrap();
    unit().await.unwrap();
    let none = || {
        let body = async {
            world.effects.happen();
            Ok::<Option<u32>, Error>(None)
        };
        world.engine.operation("option").key("key").run(body)
    };
    assert_eq!(none().await.unwrap(), None);
    assert_eq!(none().await.unwrap(), None);
    assert_eq!(world.effects.count(), 2);
}

#[tokio::test]
async fn a_call_without_a_key_runs_unprotected_and_says_so() {
    let world = World::new();
    let call = || {
        let operation = world.engine.operation("test").key(None::<String>);
        operation.run(async { Ok::<_, Error>(Outcome::new(world.effects.happen())) })
    };
    assert_eq!(call().await.unwrap().provenance(), Provenance::Unprotected);
    assert_eq!(call().await.unwrap().into_value(), 2);
    assert_eq!(world.events.count(EventKind::Unprotected), 2);
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_an_error_and_nothing_runs() {
    let world = World::new();
    for key in ["", &"k".repeat(513)] {
        let operation = world.engine.operation("test").key(key);
        let answer = operation
            .run(async { Ok::<_, Error>(world.effects.happen()) })
            .await;
        assert!(matches!(answer, Err(Error::Key(_))), "{answer:?}");
    }
    assert_eq!(world.effects.count(), 0);
    assert!(matches!(Key::new("test", ""), Err(KeyError::Empty)));
}

#[tokio::test]
async fn durations_out_of_range_are_an_error_and_nothing_runs() {
    let world = World::new();
    for (ttl, lease) in [
        (Duration::ZERO, Duration::from_secs(1)),
        (Duration::from_secs(1), Duration::from_micros(999)),
        (Duration::MAX, Duration::from_secs(1)),
    ] {
        let operation = world.operation().ttl(ttl).lease(lease);
        let answer = operation
            .run(async { Ok::<_, Error>(world.effects.happen()) })
            .await;
        assert!(
            matches!(answer, Err(Error::InvalidDuration { .. })),
            "{answer:?}"
        );
    }
    assert_eq!(world.effects.count(), 0);
}

#[tokio::test]
async fn input_that_the_body_changes_completes_the_key_it_was_called_with() {
    let world = World::new();
    let mut name = "before".to_owned();
    let operation = world.engine.operation("test").key(&name).fingerprint(&name);
    let body = async {
        name.push_str(" and after");
        Ok::<_, Error>(name.len())
    };
    operation.run(body).await.unwrap();
    let key = Key::new("test", "before").unwrap();
    let record = world.store.get(&key).await.unwrap().unwrap();
    assert_eq!(record.state, State::Completed);
    assert_eq!(record.fingerprint, Fingerprint::of("before").unwrap());
}
