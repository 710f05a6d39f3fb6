//! What becomes of a record whose operation returns an error.

use idempotent_core::{Error, OnError, State};
use serde::{Deserialize, Serialize};

use crate::world::World;

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
