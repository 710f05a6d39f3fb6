//! `ttl`, `lease`, `ctx` and everything that begins with `on_`.

use std::future::pending;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use idempotency::{Ending, Engine, Error, OnError, Verdict, idempotent};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, advance, sleep, timeout};

use super::engine;
use super::flaky::FlakyStore;

#[idempotent(key = id, engine = engine, ttl = "90s", ctx = attempt)]
async fn short_lived(engine: &Engine, id: u32, runs: Runs<'_>) -> Result<u32, Error> {
    assert!(attempt.is_first());
    Ok(runs.next())
}

const TTL: Duration = Duration::from_secs(45);

#[idempotent(key = id, engine = engine, ttl = TTL * 2)]
async fn short_lived_by_expression(engine: &Engine, id: u32, runs: Runs<'_>) -> Result<u32, Error> {
    Ok(runs.next())
}

/// Counts the runs of a body. It says nothing about what is asked for, and so equals every other.
#[derive(Clone, Copy)]
struct Runs<'a>(&'a AtomicU32);

impl Runs<'_> {
    fn next(self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Serialize for Runs<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_is_kept_for_the_ttl() -> Result<(), Error> {
    let (engine, runs) = (engine(), AtomicU32::new(0));
    assert_eq!(short_lived(&engine, 1, Runs(&runs)).await?, 1);
    advance(Duration::from_secs(89)).await;
    assert_eq!(short_lived(&engine, 1, Runs(&runs)).await?, 1);
    advance(Duration::from_secs(2)).await;
    assert_eq!(short_lived(&engine, 1, Runs(&runs)).await?, 2);

    assert_eq!(short_lived_by_expression(&engine, 1, Runs(&runs)).await?, 3);
    advance(Duration::from_secs(89)).await;
    assert_eq!(short_lived_by_expression(&engine, 1, Runs(&runs)).await?, 3);
    advance(Duration::from_secs(2)).await;
    assert_eq!(short_lived_by_expression(&engine, 1, Runs(&runs)).await?, 4);
    Ok(())
}

/// Defines a function that sleeps, with a policy about those who come meanwhile.
macro_rules! slow {
    ($name:ident, $on_conflict:expr) => {
        #[idempotent(key = 1, engine = engine, on_conflict = $on_conflict)]
        async fn $name(engine: Engine) -> Result<u32, Error> {
            sleep(Duration::from_secs(5)).await;
            Ok(1)
        }
    };
}

slow!(fail_if_busy, fail);
slow!(wait_too_shortly, wait("1s"));
slow!(wait_long_enough, wait(Duration::from_secs(3) * 2));

#[tokio::test(start_paused = true)]
async fn a_conflict_fails_or_waits() {
    let engine = engine();
    let is_busy = |result: Result<u32, Error>| matches!(result, Err(Error::InProgress { .. }));

    let first = tokio::spawn(fail_if_busy(engine.clone()));
    tokio::task::yield_now().await;
    let started = Instant::now();
    assert!(is_busy(fail_if_busy(engine.clone()).await));
    assert_eq!(started.elapsed(), Duration::ZERO);
    first.await.unwrap().unwrap();

    let first = tokio::spawn(wait_too_shortly(engine.clone()));
    tokio::task::yield_now().await;
    assert!(is_busy(wait_too_shortly(engine.clone()).await));
    first.await.unwrap().unwrap();

    let first = tokio::spawn(wait_long_enough(engine.clone()));
    tokio::task::yield_now().await;
    assert_eq!(wait_long_enough(engine).await.unwrap(), 1);
    first.await.unwrap().unwrap();
}

#[derive(Debug, Deserialize, Serialize, thiserror::Error)]
enum Declined {
    #[error("declined for now, in run {0}")]
    ForNow(u32),
    #[error("declined for good, in run {0}")]
    ForGood(u32),
    #[error("{0}")]
    Idempotency(String),
}

impl From<Error> for Declined {
    fn from(error: Error) -> Self {
        Self::Idempotency(error.to_string())
    }
}

#[idempotent(key = 1, engine = engine, on_error = release)]
async fn release_errors(engine: &Engine, runs: Runs<'_>) -> Result<(), Declined> {
    Err(Declined::ForNow(runs.next()))
}

#[idempotent(key = 1, engine = engine, on_error = record)]
async fn record_errors(engine: &Engine, runs: Runs<'_>) -> Result<(), Declined> {
    Err(Declined::ForGood(runs.next()))
}

#[idempotent(key = 1, engine = engine, on_error = hold)]
async fn hold_errors(engine: &Engine, runs: Runs<'_>) -> Result<(), Declined> {
    Err(Declined::ForGood(runs.next()))
}

#[idempotent(key = 1, engine = engine, on_error = Declined::classify)]
async fn classify_errors(engine: &Engine, runs: Runs<'_>) -> Result<(), Declined> {
    match runs.next() {
        1 => Err(Declined::ForNow(1)),
        run => Err(Declined::ForGood(run)),
    }
}

impl Declined {
    fn classify(&self) -> OnError {
        match self {
            Self::ForNow(_) | Self::Idempotency(_) => OnError::Release,
            Self::ForGood(_) => OnError::Record,
        }
    }
}

#[tokio::test]
async fn an_error_is_released_recorded_or_held() {
    let engine = engine();
    let message = |result: Result<(), Declined>| result.unwrap_err().to_string();

    let runs = AtomicU32::new(0);
    assert_eq!(
        message(release_errors(&engine, Runs(&runs)).await),
        "declined for now, in run 1"
    );
    assert_eq!(
        message(release_errors(&engine, Runs(&runs)).await),
        "declined for now, in run 2"
    );

    let runs = AtomicU32::new(0);
    assert_eq!(
        message(record_errors(&engine, Runs(&runs)).await),
        "declined for good, in run 1"
    );
    assert_eq!(
        message(record_errors(&engine, Runs(&runs)).await),
        "declined for good, in run 1"
    );

    let runs = AtomicU32::new(0);
    assert_eq!(
        message(hold_errors(&engine, Runs(&runs)).await),
        "declined for good, in run 1"
    );
    let held = message(hold_errors(&engine, Runs(&runs)).await);
    assert_eq!(held, Error::InDoubt.to_string());

    let runs = AtomicU32::new(0);
    assert_eq!(
        message(classify_errors(&engine, Runs(&runs)).await),
        "declined for now, in run 1"
    );
    assert_eq!(
        message(classify_errors(&engine, Runs(&runs)).await),
        "declined for good, in run 2"
    );
    assert_eq!(
        message(classify_errors(&engine, Runs(&runs)).await),
        "declined for good, in run 2"
    );
}

/// Defines a function whose first run never ends, and tells in later ones how the run before did.
macro_rules! stuck {
    ($name:ident, $($policy:tt)*) => {
        #[idempotent(key = 1, engine = engine, lease = "5s", ctx = attempt, $($policy)*)]
        async fn $name(engine: &Engine) -> Result<String, Error> {
            if attempt.is_first() {
                pending::<()>().await;
            }
            Ok(format!("{:?}", attempt.previous()))
        }
    };
}

stuck!(rerun, on_abandoned = rerun);
stuck!(in_doubt, on_abandoned = in_doubt);
stuck!(
    found,
    on_abandoned = verify(find(Verdict::Done("found".to_owned())))
);
stuck!(not_found, on_abandoned = verify(find(Verdict::NotExecuted)));
stuck!(unknown, on_abandoned = verify(find(Verdict::Unknown)));
stuck!(release_if_cancelled, on_cancel = release);
stuck!(hold_if_cancelled, on_cancel = hold);

async fn find<T>(verdict: Verdict<T>) -> Verdict<T> {
    tokio::task::yield_now().await;
    verdict
}

/// Starts `call` and lets its caller go away.
async fn abandon<T>(call: impl Future<Output = T>) {
    assert!(timeout(Duration::from_secs(1), call).await.is_err());
    // The store is told in the background.
    tokio::task::yield_now().await;
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_attempt_is_followed_by_another_or_is_in_doubt() -> Result<(), Error> {
    let engine = engine();
    let cancelled = format!("{:?}", Some(Ending::Cancelled));

    abandon(rerun(&engine)).await;
    assert_eq!(rerun(&engine).await?, cancelled);

    abandon(in_doubt(&engine)).await;
    let error = in_doubt(&engine).await.unwrap_err();
    assert!(matches!(error, Error::InDoubt), "{error:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_attempt_is_looked_for() -> Result<(), Error> {
    let engine = engine();
    abandon(found(&engine)).await;
    assert_eq!(found(&engine).await?, "found");
    assert_eq!(found(&engine).await?, "found");

    abandon(not_found(&engine)).await;
    assert_ne!(not_found(&engine).await?, "found");

    abandon(unknown(&engine)).await;
    let error = unknown(&engine).await.unwrap_err();
    assert!(matches!(error, Error::InDoubt), "{error:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_holds_its_key_or_frees_it() -> Result<(), Error> {
    let engine = engine();
    abandon(release_if_cancelled(&engine)).await;
    let started = Instant::now();
    release_if_cancelled(&engine).await?;
    assert_eq!(started.elapsed(), Duration::ZERO);

    abandon(hold_if_cancelled(&engine)).await;
    let started = Instant::now();
    hold_if_cancelled(&engine).await?;
    assert!(started.elapsed() >= Duration::from_secs(3));
    Ok(())
}

#[idempotent(key = 1, engine = engine, on_cancel = detach)]
async fn detached(engine: Engine) -> Result<String, Error> {
    sleep(Duration::from_secs(5)).await;
    Ok("finished all the same".to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_detached_body_finishes_without_its_caller() -> Result<(), Error> {
    let engine = engine();
    abandon(detached(engine.clone())).await;
    let started = Instant::now();
    assert_eq!(detached(engine).await?, "finished all the same");
    assert!(
        started.elapsed() <= Duration::from_secs(4),
        "it was not begun again"
    );
    Ok(())
}

/// Defines a function whose first run panics.
macro_rules! panicking {
    ($name:ident, $on_panic:ident) => {
        #[idempotent(key = 1, engine = engine, lease = "5s", ctx = attempt, on_panic = $on_panic)]
        async fn $name(engine: Engine) -> Result<String, Error> {
            assert!(!attempt.is_first(), "as the test wants");
            Ok(format!("{:?}", attempt.previous()))
        }
    };
}

panicking!(release_if_panicked, release);
panicking!(hold_if_panicked, hold);

#[tokio::test(start_paused = true)]
async fn a_panic_holds_the_key_or_frees_it() -> Result<(), Error> {
    let engine = engine();
    let panicked = format!("{:?}", Some(Ending::Panicked));

    assert!(
        tokio::spawn(release_if_panicked(engine.clone()))
            .await
            .is_err()
    );
    let started = Instant::now();
    assert_eq!(release_if_panicked(engine.clone()).await?, panicked);
    assert_eq!(started.elapsed(), Duration::ZERO);

    assert!(
        tokio::spawn(hold_if_panicked(engine.clone()))
            .await
            .is_err()
    );
    let started = Instant::now();
    assert_eq!(hold_if_panicked(engine).await?, panicked);
    assert!(started.elapsed() >= Duration::from_secs(4));
    Ok(())
}

#[idempotent(key = 1, engine = engine, on_store_failure = fail)]
async fn fail_without_a_store(engine: &Engine) -> Result<u32, Error> {
    Ok(1)
}

#[idempotent(key = 1, engine = engine, on_store_failure = run_unprotected)]
async fn run_without_a_store(engine: &Engine) -> Result<u32, Error> {
    Ok(1)
}

#[tokio::test(start_paused = true)]
async fn without_a_store_a_call_fails_or_runs_unprotected() -> Result<(), Error> {
    let store = FlakyStore::default();
    let engine = Engine::new(store.clone());
    store.take_down();
    let error = fail_without_a_store(&engine).await.unwrap_err();
    assert!(matches!(error, Error::Store { .. }), "{error:?}");
    assert_eq!(run_without_a_store(&engine).await?, 1);
    Ok(())
}

#[idempotent(key = 1, engine = engine, on_unrecorded = error)]
async fn fail_if_unrecorded(engine: &Engine, store: Switch) -> Result<u32, Error> {
    store.0.take_down();
    Ok(1)
}

#[idempotent(key = 1, engine = engine, on_unrecorded = return)]
async fn return_if_unrecorded(engine: &Engine, store: Switch) -> Result<u32, Error> {
    store.0.take_down();
    Ok(1)
}

/// Lets a body take its store down.
struct Switch(FlakyStore);

impl Serialize for Switch {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

#[tokio::test(start_paused = true)]
async fn an_unrecorded_value_is_an_error_or_is_returned() -> Result<(), Error> {
    let store = FlakyStore::default();
    let engine = Engine::new(store.clone());
    let error = fail_if_unrecorded(&engine, Switch(store))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unrecorded { .. }), "{error:?}");

    let store = FlakyStore::default();
    let engine = Engine::new(store.clone());
    assert_eq!(return_if_unrecorded(&engine, Switch(store)).await?, 1);
    Ok(())
}
