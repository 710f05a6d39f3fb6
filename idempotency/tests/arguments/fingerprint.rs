//! `fingerprint` and `skip`.

use idempotency::{Engine, Error, idempotent};

use super::engine;

fn is_mismatch<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::FingerprintMismatch))
}

#[idempotent(key = id, engine = engine, skip(trace))]
async fn charge(engine: &Engine, id: u32, amount: u32, trace: &str) -> Result<u32, Error> {
    _ = trace;
    Ok(amount)
}

#[tokio::test]
async fn other_arguments_are_an_error_unless_they_are_skipped() -> Result<(), Error> {
    let engine = engine();
    assert_eq!(charge(&engine, 1, 100, "a").await?, 100);
    assert_eq!(charge(&engine, 1, 100, "b").await?, 100);
    assert!(is_mismatch(&charge(&engine, 1, 200, "a").await));
    Ok(())
}

/// A call that waits learns of its mistake at once.
#[tokio::test(start_paused = true)]
async fn other_arguments_are_an_error_while_the_first_call_runs() {
    let engine = engine();
    let slow = tokio::spawn({
        let engine = engine.clone();
        async move { sleep(&engine, 1, 10).await }
    });
    tokio::task::yield_now().await;
    let started = tokio::time::Instant::now();
    assert!(is_mismatch(&sleep(&engine, 1, 20).await));
    assert!(started.elapsed().as_secs() < 1);
    slow.await.unwrap().unwrap();
}

#[idempotent(key = id, engine = engine)]
async fn sleep(engine: &Engine, id: u32, secs: u64) -> Result<(), Error> {
    tokio::time::sleep(std::time::Duration::from_secs(secs)).await;
    Ok(())
}

#[idempotent(key = id, engine = engine, fingerprint = (amount / 100, "EUR"))]
async fn charge_euros(engine: &Engine, id: u32, amount: u32) -> Result<u32, Error> {
    Ok(amount)
}

#[tokio::test]
async fn an_expression_replaces_the_arguments() -> Result<(), Error> {
    let engine = engine();
    assert_eq!(charge_euros(&engine, 1, 100).await?, 100);
    assert_eq!(charge_euros(&engine, 1, 199).await?, 100);
    assert!(is_mismatch(&charge_euros(&engine, 1, 200).await));
    Ok(())
}

#[idempotent(key = id, engine = engine, fingerprint = none)]
async fn charge_blindly(engine: &Engine, id: u32, amount: u32) -> Result<u32, Error> {
    Ok(amount)
}

#[tokio::test]
async fn without_a_fingerprint_only_the_key_counts() -> Result<(), Error> {
    let engine = engine();
    assert_eq!(charge_blindly(&engine, 1, 100).await?, 100);
    assert_eq!(charge_blindly(&engine, 1, 200).await?, 100);
    Ok(())
}

#[idempotent(key = id, engine = engine)]
async fn charge_parts(
    engine: &Engine,
    id: u32,
    (amount, currency): (u32, &str),
    _: u32,
) -> Result<u32, Error> {
    Ok(amount + u32::try_from(currency.len()).unwrap_or_default())
}

#[tokio::test]
async fn what_a_pattern_binds_counts_and_what_it_ignores_does_not() -> Result<(), Error> {
    let engine = engine();
    assert_eq!(charge_parts(&engine, 1, (100, "EUR"), 1).await?, 103);
    assert_eq!(charge_parts(&engine, 1, (100, "EUR"), 2).await?, 103);
    assert!(is_mismatch(
        &charge_parts(&engine, 1, (100, "USD"), 1).await
    ));
    assert!(is_mismatch(
        &charge_parts(&engine, 1, (101, "EUR"), 1).await
    ));
    Ok(())
}
