//! Recovery points: what is recorded is not run again, and what does not fit is not run at all.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use idempotent_core::protocol::{Release, ReleaseMode};
use idempotent_core::{
    Attempt, Determinism, Ending, Error, EventKind, InspectExt, OnError, OnPanic, Resolution,
    State, StepError, StepKey, Store,
};
use idempotent_testkit::faults::Op;
use serde::{Deserialize, Serialize};
use tokio::time::{advance, sleep, timeout};

use crate::world::{LEASE, World, key};

/// What was done, by name, and with which key.
#[derive(Clone, Default)]
struct Done(Arc<Mutex<Vec<(String, String)>>>);

impl Done {
    async fn act(&self, name: &str, key: StepKey) -> Result<String, Error> {
        tokio::task::yield_now().await;
        let mut done = self.0.lock().unwrap();
        done.push((name.to_owned(), key.into()));
        Ok(format!("{name} {}", done.len()))
    }

    fn names(&self) -> Vec<String> {
        let done = self.0.lock().unwrap();
        done.iter().map(|(name, _)| name.clone()).collect()
    }

    fn keys(&self) -> BTreeMap<String, Vec<String>> {
        let mut keys = BTreeMap::<_, Vec<_>>::new();
        for (name, key) in &*self.0.lock().unwrap() {
            keys.entry(name.clone()).or_default().push(key.clone());
        }
        keys
    }
}

/// Does all of these steps, one after the other, and then fails as told.
async fn walk(run: Attempt, done: &Done, steps: &[&str], fails: bool) -> Result<String, Error> {
    let mut last = String::new();
    for name in steps {
        last = run
            .step((*name).to_owned(), |key| done.act(name, key))
            .await?;
    }
    if fails {
        return Err(Error::ResultUnavailable);
    }
    Ok(last)
}

impl World {
    async fn walk(&self, done: &Done, steps: &[&str], fails: bool) -> Result<String, Error> {
        let operation = self.operation();
        operation
            .run_with(|run| walk(run, done, steps, fails))
            .await
    }
}

fn is_mismatch<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Step(StepError::Mismatch(_))))
}

/// R1, R14.
#[tokio::test(start_paused = true)]
async fn a_recorded_step_never_runs_again_and_gives_its_value() {
    let (world, done) = (World::new(), Done::default());
    world
        .walk(&done, &["ride", "charge"], true)
        .await
        .unwrap_err();
    let last = world.walk(&done, &["ride", "charge"], false).await.unwrap();
    assert_eq!(last, "charge 2");
    assert_eq!(done.names(), ["ride", "charge"]);
    assert_eq!(world.record().await.unwrap().attempt, 2);
    assert_eq!(world.walk(&done, &["ride"], false).await.unwrap(), last);
}

/// R11.
#[tokio::test(start_paused = true)]
async fn an_error_of_a_step_is_not_recorded_and_its_key_stays_the_same() {
    let (world, done) = (World::new(), Done::default());
    let fails = async |run: Attempt| {
        run.step("charge", async |key| {
            done.act("charge", key).await?;
            Err::<(), _>(Error::ResultUnavailable)
        })
        .await
    };
    world.operation().run_with(fails).await.unwrap_err();
    world.walk(&done, &["charge"], false).await.unwrap();
    let keys = &done.keys()["charge"];
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
    assert_eq!(keys[0].len(), 40);
}

/// R11: S-10.
#[tokio::test(start_paused = true)]
async fn a_final_error_of_a_step_ends_the_operation_and_is_replayed() {
    #[derive(Debug, Deserialize, Serialize)]
    enum Failure {
        Declined,
        Other(String),
    }
    impl From<Error> for Failure {
        fn from(error: Error) -> Self {
            Self::Other(error.to_string())
        }
    }
    let classify = |error: &Failure| match error {
        Failure::Declined => OnError::Record,
        Failure::Other(_) => OnError::Release,
    };
    let (world, done) = (World::new(), Done::default());
    for _ in 0..2 {
        let payment = world.operation().record_errors_if(classify);
        let paid = payment.run_with(async |run| {
            run.step("charge", async |key| {
                done.act("charge", key).await?;
                Err::<(), _>(Failure::Declined)
            })
            .await
        });
        assert!(matches!(paid.await, Err(Failure::Declined)));
    }
    assert_eq!(done.names().len(), 1);
    assert_eq!(world.record().await.unwrap().state, State::Failed);
}

/// R2, R3.
#[tokio::test(start_paused = true)]
async fn another_way_than_the_recorded_one_is_stopped_before_anything_runs() {
    let world = World::with(|engine| engine.version("2"));
    let done = Done::default();
    for ways in [&["ride", "pay"][..], &["charge"], &["new", "ride"]] {
        world
            .walk(&done, &["ride", "charge"], true)
            .await
            .unwrap_err();
        let before = done.names();
        let error = world.walk(&done, ways, false).await.unwrap_err();
        let Error::Step(error) = error else {
            panic!("{error} is no mismatch");
        };
        assert!(matches!(error, StepError::Mismatch(_)), "{ways:?}: {error}");
        let record = world.record().await.unwrap();
        assert_eq!(
            (record.state, record.ending),
            (State::Released, Some(Ending::Stuck))
        );
        assert_eq!(done.names(), before);
    }
    assert_eq!(
        world.record().await.unwrap().failures,
        3,
        "a mismatch is no failure"
    );
    assert_eq!(world.events.count(EventKind::Diverged), 3);
}

/// R3, S-12.
#[tokio::test(start_paused = true)]
async fn a_mismatch_is_never_taken_for_the_result() {
    let (world, done) = (World::new(), Done::default());
    world.walk(&done, &["ride"], true).await.unwrap_err();
    let swallowed = world.operation().run_with(async |run| {
        _ = run.step("other", |key| done.act("other", key)).await;
        Ok::<_, Error>("fine".to_owned())
    });
    assert!(is_mismatch(&swallowed.await));
    let recording = world.operation().record_errors();
    let recorded = recording.run_with(async |run| {
        run.step("other", async |_| Err::<String, _>(Told("other".into())))
            .await
    });
    recorded.await.unwrap_err();
    assert_eq!(world.record().await.unwrap().state, State::Released);
    assert_eq!(
        world.walk(&done, &["ride", "mail"], false).await.unwrap(),
        "mail 2"
    );
}

#[derive(Debug, Deserialize, Serialize)]
struct Told(String);

impl From<Error> for Told {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

/// R3.
#[tokio::test(start_paused = true)]
async fn after_too_many_attempts_that_diverge_the_record_is_parked_until_somebody_resolves_it() {
    let world = World::with(|engine| engine.max_resumes(3));
    let done = Done::default();
    world.walk(&done, &["ride"], true).await.unwrap_err();
    for _ in 0..2 {
        assert!(is_mismatch(&world.walk(&done, &["other"], false).await));
    }
    for _ in 0..2 {
        let parked = world.walk(&done, &["ride"], false).await;
        assert!(matches!(parked, Err(Error::Parked)), "{parked:?}");
    }
    assert_eq!(world.record().await.unwrap().state, State::InDoubt);
    let key = key();
    let resolved = world.store.resolve(&key, Resolution::NotExecuted);
    resolved.await.unwrap();
    assert_eq!(
        world.walk(&done, &["ride", "mail"], false).await.unwrap(),
        "mail 2"
    );
}

/// R9.
#[tokio::test(start_paused = true)]
async fn a_shorter_way_than_the_recorded_one_has_no_result() {
    let (world, done) = (World::new(), Done::default());
    world
        .walk(&done, &["ride", "charge"], true)
        .await
        .unwrap_err();
    assert!(is_mismatch(&world.walk(&done, &["ride"], false).await));
    let none = world
        .operation()
        .run(async { Ok::<_, Error>("nothing".to_owned()) });
    assert!(is_mismatch(&none.await), "without any step, too");
    let recorded = world.operation().record_errors();
    let recorded = recorded.run(async { Err::<String, _>(Told("no".into())) });
    recorded.await.unwrap_err();
    assert_eq!(world.record().await.unwrap().state, State::Released);
    assert_eq!(
        world.walk(&done, &["ride", "charge"], false).await.unwrap(),
        "charge 2"
    );
}

/// R4.
#[tokio::test(start_paused = true)]
async fn by_name_steps_may_come_and_go() {
    let world = World::with(|engine| engine.determinism(Determinism::ByName));
    let done = Done::default();
    world
        .walk(&done, &["ride", "charge"], true)
        .await
        .unwrap_err();
    let last = world
        .walk(&done, &["check", "charge"], false)
        .await
        .unwrap();
    assert_eq!(last, "charge 2");
    assert_eq!(done.names(), ["ride", "charge", "check"]);
}

/// R5.
#[tokio::test(start_paused = true)]
async fn a_second_step_of_one_name_does_not_run() {
    let (world, done) = (World::new(), Done::default());
    let twice = world.walk(&done, &["charge", "charge"], false).await;
    assert!(
        matches!(twice, Err(Error::Step(StepError::Duplicate { .. }))),
        "{twice:?}"
    );
    assert_eq!(done.names(), ["charge"]);
}

/// R5.
#[tokio::test(start_paused = true)]
async fn the_steps_of_a_loop_have_numbers() {
    let (world, done) = (World::new(), Done::default());
    for fails in [true, false] {
        let run = world.operation().run_with(async |run| {
            for n in 0..3 {
                run.step_n("mail", n, |key| done.act("mail", key)).await?;
            }
            if fails {
                Err(Error::ResultUnavailable)
            } else {
                Ok(())
            }
        });
        assert_eq!(run.await.is_err(), fails);
    }
    let keys = done.keys()["mail"].clone();
    assert_eq!(keys.len(), 3);
    assert!(keys[0] != keys[1] && keys[1] != keys[2]);
}

/// R6.
#[tokio::test(start_paused = true)]
async fn steps_that_run_at_once_replay_alike_in_whatever_order_they_end() {
    for seed in 0..100_u64 {
        let (world, done) = (World::new(), Done::default());
        let after = |n: u64| Duration::from_millis((seed * 7 + n * n * 13) % 31);
        let all = async |run: Attempt, fails: bool| {
            let slow = async |n: u64, name: &'static str, key| {
                sleep(after(n)).await;
                done.act(name, key).await
            };
            let (a, b, c) = tokio::try_join!(
                run.step("a", |key| slow(1, "a", key)),
                run.step("b", |key| slow(2, "b", key)),
                run.step("c", |key| slow(3, "c", key)),
            )?;
            if fails {
                Err(Error::ResultUnavailable)
            } else {
                Ok([a, b, c])
            }
        };
        let operation = world.operation();
        // Some end before the caller goes away, and some do not.
        let first = operation.run_with(|run| all(run, true));
        _ = timeout(Duration::from_millis(seed % 29), first).await;
        advance(LEASE).await;
        let values = world
            .operation()
            .run_with(|run| all(run, false))
            .await
            .unwrap();
        let keys = done.keys();
        assert_eq!(keys.len(), 3);
        for (value, (name, keys)) in values.iter().zip(&keys) {
            assert!(value.starts_with(name), "{value} for {name}, seed {seed}");
            assert!(keys.iter().all(|key| *key == keys[0]));
        }
    }
}

/// R7.
#[tokio::test(start_paused = true)]
async fn a_step_within_a_step_is_part_of_it() {
    let (world, done) = (World::new(), Done::default());
    for fails in [true, false] {
        let run = world.operation().run_with(async |run| {
            let outer = run.step("outer", async |_| {
                run.step("inner", |key| done.act("inner", key)).await
            });
            let value = outer.await?;
            if fails {
                Err(Error::ResultUnavailable)
            } else {
                Ok(value)
            }
        });
        assert_eq!(run.await.is_err(), fails);
    }
    assert_eq!(done.names(), ["inner"]);
}

/// R7.
#[tokio::test(start_paused = true)]
async fn an_attempt_has_no_steps_after_the_end_of_its_operation() {
    let (world, done) = (World::new(), Done::default());
    let kept = Arc::new(Mutex::new(None));
    let operation = world.operation().run_with(async |run: Attempt| {
        run.step("ride", |key| done.act("ride", key)).await?;
        *kept.lock().unwrap() = Some(run);
        Ok::<_, Error>(())
    });
    operation.await.unwrap();
    let run = kept.lock().unwrap().take().unwrap();
    let late = run.step("late", |key| done.act("late", key)).await;
    assert!(
        matches!(late, Err(Error::Step(StepError::Ended { .. }))),
        "{late:?}"
    );
    assert_eq!(done.names(), ["ride"]);
}

/// R8.
#[tokio::test(start_paused = true)]
async fn after_a_step_that_was_dropped_no_other_is_recorded() {
    let (world, done) = (World::new(), Done::default());
    let run = world.operation().run_with(async |run| {
        let slow = run.step("slow", async |_| pending::<Result<(), Error>>().await);
        _ = timeout(Duration::from_secs(1), slow).await;
        run.step("next", |key| done.act("next", key)).await
    });
    let error = run.await.unwrap_err();
    assert!(
        matches!(error, Error::Step(StepError::Abandoned { .. })),
        "{error:?}"
    );
    assert!(done.names().is_empty());

    let unpolled = world.operation().run_with(async |run| {
        drop(run.step("slow", async |_| Ok::<_, Error>(())));
        run.step("next", |key| done.act("next", key)).await
    });
    unpolled.await.unwrap();
    assert_eq!(done.names(), ["next"], "one that has not begun is no harm");
}

/// R8.
#[tokio::test(start_paused = true)]
async fn an_operation_that_goes_on_after_a_dropped_step_says_so() {
    let world = World::new();
    let run = world.operation().run_with(async |run| {
        let slow = run.step("slow", async |_| pending::<Result<(), Error>>().await);
        _ = timeout(Duration::from_secs(1), slow).await;
        Ok::<_, Error>(())
    });
    run.await.unwrap();
    assert_eq!(world.events.count(EventKind::StepAbandoned), 1);
}

/// R10, S-18.
#[tokio::test(start_paused = true)]
async fn a_late_owner_records_no_step_and_gets_the_winners_result() {
    let (world, done) = (World::new(), Done::default());
    let late = world.operation().run_with(async |run: Attempt| {
        run.step("ride", |key| done.act("ride", key)).await?;
        // Its lease is taken away, as if the process had stood still.
        let holder = world
            .record()
            .await
            .map(|record| (record.owner, record.fence))
            .unwrap();
        let holder = idempotent_core::protocol::Holder {
            owner: holder.0,
            fence: Some(holder.1),
        };
        let release = Release::new(Ending::Expired, ReleaseMode::Free);
        world.store.release(&key(), &holder, release).await.unwrap();
        assert_eq!(
            world.walk(&done, &["ride", "charge"], false).await.unwrap(),
            "charge 2"
        );
        run.step("charge", |key| done.act("charge", key)).await
    });
    assert_eq!(late.await.unwrap(), "charge 2");
    // The late one ran its step, once more, with the same key.
    let keys = &done.keys()["charge"];
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
    assert_eq!(world.events.count(EventKind::LeaseLost), 1);
}

/// R13.
#[tokio::test(start_paused = true)]
async fn a_step_that_the_store_does_not_take_stops_the_operation_without_a_result() {
    let (world, done) = (World::new(), Done::default());
    world.faults.on(Op::RecordStep).fail();
    let recording = world.operation().record_errors::<Told>();
    let failed = recording.run_with(async |run| {
        let first = run.step("charge", async |key| {
            done.act("charge", key).await.map_err(Told::from)
        });
        first.await?;
        Ok::<_, Told>(())
    });
    failed.await.unwrap_err();
    assert_ne!(world.record().await.unwrap().state, State::Failed);
    world.faults.clear();
    world.walk(&done, &["charge"], false).await.unwrap();
    let keys = &done.keys()["charge"];
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
}

/// R13.
#[tokio::test(start_paused = true)]
async fn a_step_whose_reply_is_lost_is_recorded_once() {
    let (world, done) = (World::new(), Done::default());
    world.faults.on(Op::RecordStep).first(1).drop_reply();
    world.walk(&done, &["charge", "mail"], false).await.unwrap();
    assert_eq!(done.names(), ["charge", "mail"]);
}

/// R17.
#[tokio::test(start_paused = true)]
async fn a_value_is_made_once() {
    let world = World::new();
    let mut made = Vec::new();
    for fails in [true, false] {
        let run = world.operation().run_with(async |run| {
            let n = run.value("n", || world.effects.happen()).await?;
            if fails {
                Err(Error::ResultUnavailable)
            } else {
                Ok(n)
            }
        });
        made.extend(run.await.ok());
    }
    assert_eq!((made, world.effects.count()), (vec![1], 1));
}

/// R20.
#[tokio::test(start_paused = true)]
async fn a_patch_is_for_runs_that_have_not_come_to_it() {
    let patched = async |run: Attempt, done: &Done, fails: bool| {
        run.step("ride", |key| done.act("ride", key)).await?;
        if run.patched("fees").await? {
            run.step("fees", |key| done.act("fees", key)).await?;
        }
        run.step("charge", |key| done.act("charge", key)).await?;
        if fails {
            Err(Error::ResultUnavailable)
        } else {
            Ok(())
        }
    };
    let (old, done) = (World::new(), Done::default());
    old.walk(&done, &["ride", "charge"], true)
        .await
        .unwrap_err();
    old.operation()
        .run_with(|run| patched(run, &done, false))
        .await
        .unwrap();
    assert_eq!(done.names(), ["ride", "charge"]);

    let (new, done) = (World::new(), Done::default());
    new.walk(&done, &["ride"], true).await.unwrap_err();
    for fails in [true, false] {
        let run = new.operation().run_with(|run| patched(run, &done, fails));
        assert_eq!(run.await.is_err(), fails);
    }
    assert_eq!(done.names(), ["ride", "fees", "charge"]);
}

/// R21.
#[tokio::test(start_paused = true)]
async fn limits_are_errors_and_the_operation_is_not_recorded() {
    let world = World::with(|engine| engine.max_steps(2).max_step_size(16));
    let done = Done::default();
    let many = world.walk(&done, &["a", "b", "c"], false).await;
    assert!(
        matches!(many, Err(Error::Step(StepError::TooMany { .. }))),
        "{many:?}"
    );
    assert_eq!(done.names(), ["a", "b"]);

    let world = World::with(|engine| engine.max_step_size(16));
    let large = world.walk(&done, &["a step with a long name"], false).await;
    assert!(
        matches!(large, Err(Error::Step(StepError::TooLarge { .. }))),
        "{large:?}"
    );
}

/// R22.
#[tokio::test(start_paused = true)]
async fn an_operation_within_a_step_is_an_operation_of_its_own() {
    let (world, done) = (World::new(), Done::default());
    let inner = async || {
        let operation = world.engine.operation("mail").key("1");
        operation
            .run(async { Ok::<_, Error>(world.effects.happen()) })
            .await
    };
    for fails in [true, false] {
        let run = world.operation().run_with(async |run| {
            run.step("ride", |key| done.act("ride", key)).await?;
            let n = run.step("mail", |_| inner()).await?;
            if fails {
                Err(Error::ResultUnavailable)
            } else {
                Ok(n)
            }
        });
        assert_eq!(run.await.is_err(), fails);
    }
    assert_eq!(inner().await.unwrap(), 1);
    assert_eq!(world.effects.count(), 1);
}

/// S-8: the next attempt has the same values, and nothing else.
#[tokio::test(start_paused = true)]
async fn a_value_of_another_type_is_an_error() {
    let world = World::new();
    let first = world.operation().run_with(async |run| {
        run.value("n", || 7).await?;
        Err::<(), _>(Error::ResultUnavailable)
    });
    first.await.unwrap_err();
    let second = world.operation().run_with(async |run| {
        run.value("n", || "seven".to_owned()).await?;
        Ok::<_, Error>(())
    });
    assert!(matches!(second.await, Err(Error::Incompatible(_))));
}

/// S-11.
#[tokio::test(start_paused = true)]
async fn a_panic_in_a_step_leaves_what_was_recorded_before() {
    let (world, done) = (World::new(), Done::default());
    let panics = async |run: Attempt| {
        run.step("ride", |key| done.act("ride", key)).await?;
        run.step("charge", async |_| -> Result<(), Error> {
            panic!("as planned")
        })
        .await
    };
    let call = async {
        world
            .operation()
            .on_panic(OnPanic::Release)
            .run_with(panics)
            .await
    };
    caught(call).await.unwrap_err();
    assert_eq!(
        world.walk(&done, &["ride", "charge"], false).await.unwrap(),
        "charge 2"
    );
    assert_eq!(done.names(), ["ride", "charge"]);
}

async fn caught<T>(call: impl Future<Output = T>) -> Result<T, ()> {
    idempotent_core::__private::caught(call).await.map_err(drop)
}

/// An error after which the key may be used for something else is none if steps were recorded.
#[tokio::test(start_paused = true)]
async fn an_attempt_with_steps_is_never_clean() {
    let (world, done) = (World::new(), Done::default());
    let operation = world.operation().clean_if(|_: &Error| true);
    let failed = operation.run_with(|run| walk(run, &done, &["charge"], true));
    failed.await.unwrap_err();
    assert_eq!(world.record().await.unwrap().ending, Some(Ending::Error));
    world.walk(&done, &["charge"], false).await.unwrap();
    assert_eq!(done.names(), ["charge"]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_protection_just_runs_its_steps() {
    let world = World::with(|engine| engine.enabled(false));
    let done = Done::default();
    for _ in 0..2 {
        world
            .walk(&done, &["charge", "charge"], false)
            .await
            .unwrap();
    }
    assert_eq!(done.names().len(), 4);
}
