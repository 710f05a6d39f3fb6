//! Steps and completers by the attribute.

#![cfg(feature = "macros")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use idempotency::{Completer, Engine, Error, Inspect, Key, MemoryStore, StepError, idempotent};
use tokio::time::{advance, timeout};

static CHARGES: AtomicU32 = AtomicU32::new(0);
static MAILS: AtomicU32 = AtomicU32::new(0);

#[idempotent(
    key = ride,
    scope = "steps.ride",
    engine = engine,
    skip(stays),
    ctx = run,
    completer = true
)]
async fn book(engine: &Engine, user: u64, ride: &str, stays: bool) -> Result<String, Error> {
    let charge = run.step("charge", async |key| {
        assert_eq!(key.as_str(), run.key_for("charge"));
        Ok::<_, Error>(CHARGES.fetch_add(1, Ordering::SeqCst))
    });
    let charge = charge.await?;
    if !stays {
        std::future::pending::<()>().await;
    }
    let mail = async |_| Ok::<_, Error>(MAILS.fetch_add(1, Ordering::SeqCst));
    run.step("mail", mail).await?;
    Ok(format!("{user} {ride} {charge}"))
}

/// R18, R19.
#[tokio::test(start_paused = true)]
async fn a_completer_calls_the_function_with_its_arguments() {
    let store = MemoryStore::new();
    let engine = Engine::new(store.clone());
    let gone = timeout(Duration::from_millis(1), book(&engine, 7, "r1", false)).await;
    assert!(gone.is_err());
    let resumed = engine.clone();
    let completer = Completer::new(engine.clone(), store.clone()).register(
        "steps.ride",
        move |(user, ride): (u64, String)| {
            let engine = resumed.clone();
            async move { book(&engine, user, &ride, true).await }
        },
    );
    advance(Duration::from_secs(10 * 60)).await;
    assert_eq!(completer.pass().await.unwrap().finished, 1);
    assert_eq!(book(&engine, 7, "r1", true).await.unwrap(), "7 r1 0");
    assert_eq!(CHARGES.load(Ordering::SeqCst), 1);
    assert_eq!(MAILS.load(Ordering::SeqCst), 1);
}

#[idempotent(
    key = 1_u8,
    scope = "steps.by_name",
    engine = engine,
    ctx = run,
    fingerprint = none,
    determinism = by_name
)]
async fn by_name(engine: &Engine, old: bool) -> Result<u32, Error> {
    if !old {
        run.step("check", async |_| Ok::<_, Error>(())).await?;
    }
    let n = run.step("count", async |_| Ok::<_, Error>(7)).await?;
    if old { Err(Error::InDoubt) } else { Ok(n) }
}

#[idempotent(key = 1_u8, scope = "steps.strict", engine = engine, ctx = run, fingerprint = none)]
async fn strictly(engine: &Engine, old: bool) -> Result<u32, Error> {
    if !old {
        run.step("check", async |_| Ok::<_, Error>(())).await?;
    }
    let n = run.step("count", async |_| Ok::<_, Error>(7)).await?;
    if old { Err(Error::InDoubt) } else { Ok(n) }
}

/// R2, R4.
#[tokio::test]
async fn how_strict_a_function_is_can_be_chosen() {
    let store = MemoryStore::new();
    let engine = Engine::new(store.clone());
    by_name(&engine, true).await.unwrap_err();
    assert_eq!(by_name(&engine, false).await.unwrap(), 7);
    strictly(&engine, true).await.unwrap_err();
    let error = strictly(&engine, false).await.unwrap_err();
    assert!(
        matches!(error, Error::Step(StepError::Mismatch(_))),
        "{error:?}"
    );
    assert!(
        store
            .get(&Key::new("steps.strict", "1").unwrap())
            .await
            .unwrap()
            .is_some()
    );
}

/// Steps may be written in every shape that a body can have, and its future is still `Send`.
#[tokio::test]
async fn a_function_with_steps_can_be_spawned() {
    let engine = Engine::new(MemoryStore::new());
    let task = tokio::spawn(async move { strictly(&engine, false).await });
    assert_eq!(task.await.unwrap().unwrap(), 7);
}
