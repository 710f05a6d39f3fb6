//! A function that names no engine uses the one that its application has installed.

use idempotency::{Engine, Error, MemoryStore, idempotent};

#[idempotent(key = id)]
async fn charge(id: u32, runs: &mut u32) -> Result<u32, Error> {
    *runs += 1;
    Ok(*runs)
}

/// One test, since there is one process default.
#[tokio::test]
async fn without_an_engine_the_installed_one_is_used() {
    let error = charge(1, &mut 0).await.unwrap_err();
    assert!(matches!(error, Error::NoEngine), "{error:?}");

    Engine::new(MemoryStore::new()).install().unwrap();
    assert_eq!(charge(1, &mut 0).await.unwrap(), 1);
    let mut runs = 0;
    assert_eq!(charge(1, &mut runs).await.unwrap(), 1);
    assert_eq!(runs, 0, "the body did not run again");
}
