//! Functions that are stopped everywhere.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use idempotent_core::{Engine, Error, OnAbandoned};
use idempotent_testkit::faults::Op;
use idempotent_testkit::interruptions::{
    InterruptedStore, Interruption, Interruptions, Point, Report,
};

/// Something that happens, and is counted.
#[derive(Clone, Default)]
struct Effect(Arc<AtomicUsize>);

impl Effect {
    fn happen(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn count(&self) -> impl Fn() -> usize + Send + Sync + use<> {
        let count = Arc::clone(&self.0);
        move || count.load(Ordering::SeqCst)
    }
}

/// Has its effect between two awaits, under the protection of an engine, and returns how many
/// effects there have been, so that each attempt has a value of its own.
async fn protected(engine: Engine, effect: Effect) -> Result<usize, Error> {
    engine
        .operation("tests.effect")
        .key("7")
        .run(async {
            tokio::task::yield_now().await;
            let count = effect.happen();
            tokio::task::yield_now().await;
            Ok(count)
        })
        .await
}

fn rerun(store: InterruptedStore) -> Engine {
    Engine::new(store)
}

fn at_most_once(store: InterruptedStore) -> Engine {
    Engine::builder(store)
        .on_abandoned(OnAbandoned::InDoubt)
        .build()
}

#[test]
fn a_function_that_may_run_again_agrees_on_one_answer() {
    let effect = Effect::default();
    let report = Interruptions::of(|store| protected(rerun(store), effect.clone()))
        .effects(effect.count())
        .run();

    report.assert_answered();
    report.assert_same_answers();
    report.assert_at_most(2);
    let twice = report.points().iter().filter(|point| point.effects == 2);
    for point in twice {
        let after_the_effect = match point.interruption {
            Interruption::CallerGone { polls } | Interruption::Crash { polls } => polls > 3,
            Interruption::CrashBefore { call } => call == 2,
            _ => false,
        };
        assert!(after_the_effect, "{point}");
    }
}

#[test]
fn a_function_that_runs_at_most_once_does() {
    let effect = Effect::default();
    let report = Interruptions::of(|store| protected(at_most_once(store), effect.clone()))
        .effects(effect.count())
        .run();

    report.assert_at_most(1);
    report.assert_same_answers();
    let is_in_doubt = |point: &&Point<usize>| point.returned.contains(&Err("InDoubt".to_owned()));
    let in_doubt: Vec<_> = report.points().iter().filter(is_in_doubt).collect();
    assert!(!in_doubt.is_empty());
    assert!(
        in_doubt
            .iter()
            .all(|point| point.answers().next().is_none()),
        "{in_doubt:?}"
    );
}

#[test]
fn a_downstream_that_knows_the_key_has_the_effect_once() {
    let charged = Arc::new(Mutex::new(BTreeSet::new()));
    let effects = Arc::clone(&charged);
    let report = Interruptions::of(|store| {
        let charged = Arc::clone(&charged);
        async move {
            Engine::new(store)
                .operation("tests.downstream")
                .key("7")
                .run_with(|attempt| async move {
                    let key = attempt.key_for("charge");
                    tokio::task::yield_now().await;
                    charged.lock().unwrap().insert(key);
                    tokio::task::yield_now().await;
                    Ok::<_, Error>("paid".to_owned())
                })
                .await
        }
    })
    .effects(move || effects.lock().unwrap().len())
    .run();
    report.assert_answered();
    // The same key at every point, so one effect in all.
    assert_eq!(
        report
            .points()
            .iter()
            .map(|point| point.effects)
            .sum::<usize>(),
        1
    );
}

#[test]
fn a_function_without_protection_is_found_out() {
    let effect = Effect::default();
    let report = Interruptions::of(|_| {
        let effect = effect.clone();
        async move {
            let count = effect.happen();
            tokio::task::yield_now().await;
            Ok::<_, Error>(count)
        }
    })
    .effects(effect.count())
    .run();
    assert_eq!(
        report.points()[0].effects,
        2,
        "a retry runs again even if nothing happens"
    );
    let wrong = |check: fn(&Report<usize>)| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&report))).is_err()
    };
    assert!(wrong(|report| report.assert_at_most(1)));
    assert!(wrong(|report| report.assert_same_answers()));
}

#[test]
fn a_function_that_never_answers_is_found_out() {
    let report = Interruptions::of(|_| async { Err::<(), _>("no") }).run();
    assert_eq!(report.points().len(), 1, "there is nowhere to stop it");
    let answered = std::panic::catch_unwind(|| report.assert_answered());
    assert!(answered.is_err());
}

/// Every kind of point is tried, at every await and at both calls of the store.
#[test]
fn a_function_is_stopped_everywhere() {
    let effect = Effect::default();
    let report = Interruptions::of(|store| protected(rerun(store), effect.clone())).run();
    let points: Vec<_> = report
        .points()
        .iter()
        .map(|point| point.interruption)
        .collect();

    // There and back to claim, there and back to complete, and two awaits in the function.
    let mut expected = vec![Interruption::None];
    expected.extend((1..=6).map(|polls| Interruption::CallerGone { polls }));
    expected.extend((1..=6).map(|polls| Interruption::Crash { polls }));
    expected.extend((1..=2).map(|call| Interruption::CrashBefore { call }));
    expected.extend((1..=2).map(|call| Interruption::CrashAfter { call }));
    expected.extend((1..=2).map(|call| Interruption::StoreFails { call }));
    expected.extend((1..=2).map(|call| Interruption::ReplyLost { call }));
    assert_eq!(points, expected);
    assert_eq!(report.points()[0].asked, [Op::Claim, Op::Complete]);
}

/// The store's clock goes on with the function's.
#[test]
fn a_long_function_keeps_its_lease() {
    let effect = Effect::default();
    let report = Interruptions::of(|store| {
        let effect = effect.clone();
        async move {
            rerun(store)
                .operation("tests.long")
                .key("7")
                .run(async {
                    tokio::time::sleep(Duration::from_secs(75)).await;
                    Ok::<_, Error>(effect.happen())
                })
                .await
        }
    })
    .effects(effect.count())
    .run();
    let renewals = report.points()[0]
        .asked
        .iter()
        .filter(|op| **op == Op::Renew);
    assert_eq!(renewals.count(), 7);
    report.assert_answered();
    report.assert_same_answers();
}

#[test]
fn a_detached_function_runs_on_when_its_caller_goes() {
    let effect = Effect::default();
    let report = Interruptions::of(|store| {
        let effect = effect.clone();
        async move {
            rerun(store)
                .operation("tests.detached")
                .key("7")
                .run_detached(async move {
                    tokio::task::yield_now().await;
                    let count = effect.happen();
                    tokio::task::yield_now().await;
                    Ok::<_, Error>(count)
                })
                .await
        }
    })
    .effects(effect.count())
    .run();
    for point in report.points() {
        if matches!(point.interruption, Interruption::CallerGone { .. }) {
            assert_eq!(point.effects, 1, "{point}");
        }
    }
}

#[tokio::test]
async fn a_test_may_have_a_runtime_of_its_own() {
    let report = Interruptions::of(|_| async { Ok::<_, Error>(7) }).run();
    report.assert_answered();
}

#[test]
#[should_panic(expected = "the function's own")]
fn a_panic_is_passed_on() {
    Interruptions::of(|_| async { panics() }).run();
}

fn panics() -> Result<(), Error> {
    panic!("the function's own")
}
