//! What becomes of a record whose operation returns an error.

use idempotent_core::protocol::Failures;
use idempotent_core::{Error, OnError, State};
use idempotent_testkit::faults::Op;
use serde::{Deserialize, Serialize};

use crate::world::{LEASE, MOMENT, World};

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
enum Declined {
    ForNow,
    ForGood(String),
    Unclear,
    #[serde(skip)]
    Idempotency(String),
}

impl From<Error> for Declined {
    fn from(error: Error) -> Self {
        Self::Idempotency(error.to_string())
    }
}

#[tokio::test]
async fn by_default_a_retry_runs_again_at_once_as_the_next_attempt() {
    let world = World::new();
    let call = || {
        world
            .operation()
            .run_with(async |attempt| match attempt.number() {
                number if number < 3 => Err(Error::ResultUnavailable),
                number => Ok((number, attempt.failures())),
            })
    };
    assert!(call().await.is_err());
    assert_eq!(world.record().await.unwrap().state, State::Released);
    assert!(call().await.is_err());
    assert_eq!(call().await.unwrap(), (3, 2));
}

#[tokio::test]
async fn a_recorded_error_is_replayed_as_the_same_typed_error() {
    let world = World::new();
    let call = || {
        let body = async {
            let times = world.effects.happen();
            Err::<u32, _>(Declined::ForGood(format!("the card is closed ({times})")))
        };
        world.operation().record_errors().run(body)
    };
    let first = call().await.unwrap_err();
    assert_eq!(
        first,
        Declined::ForGood("the card is closed (1)".to_owned())
    );
    assert_eq!(call().await.unwrap_err(), first);
    assert_eq!(world.record().await.unwrap().state, State::Failed);
}

#[tokio::test]
async fn a_function_decides_for_each_error() {
    let world = World::new();
    let decide = |error: &Declined| match error {
        Declined::ForGood(_) => OnError::Record,
        Declined::ForNow | Declined::Idempotency(_) => OnError::Release,
        Declined::Unclear => OnError::Hold,
    };
    let call = |error: Declined| {
        let body = async {
            world.effects.happen();
            Err::<(), _>(error)
        };
        world.operation().record_errors_if(decide).run(body)
    };
    assert_eq!(call(Declined::ForNow).await, Err(Declined::ForNow));
    assert_eq!(call(Declined::Unclear).await, Err(Declined::Unclear));
    let in_doubt = call(Declined::ForNow).await.unwrap_err();
    assert_eq!(in_doubt, Declined::Idempotency(Error::InDoubt.to_string()));
    assert_eq!(world.effects.count(), 2);
}

#[tokio::test]
async fn held_errors_leave_the_record_in_doubt() {
    let world = World::new();
    let failing = async { Err::<u32, _>(Error::ResultUnavailable) };
    assert!(world.operation().hold_errors().run(failing).await.is_err());
    assert_eq!(world.record().await.unwrap().state, State::InDoubt);
    assert!(matches!(world.call().await, Err(Error::InDoubt)));
    assert_eq!(world.effects.count(), 0);
}

#[tokio::test]
async fn an_error_that_cannot_be_encoded_is_released() {
    let world = World::new();
    let body = async { Err::<u32, _>(Declined::Idempotency(String::new())) };
    let answer = world.operation().record_errors().run(body).await;
    assert_eq!(answer, Err(Declined::Idempotency(String::new())));
    assert_eq!(world.record().await.unwrap().state, State::Released);
}

#[tokio::test]
async fn an_error_recorded_by_another_version_is_not_taken_for_a_value() {
    let world = World::new();
    let body = async { Err::<u32, _>(Declined::ForGood("no".to_owned())) };
    assert!(world.operation().record_errors().run(body).await.is_err());
    assert!(matches!(world.call().await, Err(Error::Incompatible(_))));
    assert_eq!(world.effects.count(), 0);
}

#[tokio::test]
async fn a_function_says_what_each_error_does_to_the_count_of_failures() {
    let world = World::new();
    let count = |error: &Declined| match error {
        Declined::ForGood(_) => Failures::Reset,
        Declined::Unclear => Failures::Keep,
        Declined::ForNow | Declined::Idempotency(_) => Failures::Count,
    };
    let fail = async |error: Declined| {
        let operation = world.operation().count_failures(count);
        let failed = operation.run(async { Err::<(), _>(error) }).await;
        assert!(failed.is_err());
        world.record().await.unwrap().failures
    };
    assert_eq!(fail(Declined::ForNow).await, 1);
    assert_eq!(fail(Declined::Unclear).await, 1);
    assert_eq!(fail(Declined::ForNow).await, 2);
    assert_eq!(fail(Declined::ForGood("no".to_owned())).await, 0);
}

/// What takes its process along is told from what is unlucky by how often it has done so.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_falls_silent_has_failed() {
    let world = World::new();
    let silent = world.operation().run(async {
        std::future::pending::<()>().await;
        Ok::<_, Error>(())
    });
    // Not even the end of the future is told to the store, as if the process had died.
    world.faults.on(Op::Release).fail();
    drop(tokio::time::timeout(MOMENT, silent).await);
    tokio::time::sleep(LEASE * 2).await;
    let failures = world
        .operation()
        .run_with(async |attempt| Ok::<_, Error>(attempt.failures()));
    assert_eq!(failures.await.unwrap(), 1);
}
