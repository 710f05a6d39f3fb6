//! Results that are large, odd, or of another time.

use std::collections::HashMap;

use idempotent_core::{Error, EventKind, Outcome, Provenance};
use serde::{Deserialize, Serialize, Serializer};

use crate::world::World;

#[derive(Debug, Deserialize)]
struct Unserializable;

impl Serialize for Unserializable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it refuses"))
    }
}

#[tokio::test]
async fn a_result_that_cannot_be_serialized_is_returned_and_never_runs_again() {
    let world = World::new();
    let call = || {
        let body = async {
            world.effects.happen();
            Ok::<_, Error>(Unserializable)
        };
        world.operation().run(body)
    };
    call().await.unwrap();
    assert!(matches!(call().await, Err(Error::ResultUnavailable)));
    assert_eq!(world.effects.count(), 1);
    assert_eq!(world.events.count(EventKind::Unrecorded), 1);
}

#[tokio::test]
async fn a_result_whose_serialization_panics_is_returned_and_never_runs_again() {
    #[derive(Deserialize)]
    struct Explosive;

    impl Serialize for Explosive {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("in `serialize`")
        }
    }
    let world = World::new();
    let call = || {
        let body = async {
            world.effects.happen();
            Ok::<_, Error>(Explosive)
        };
        world.operation().run(body)
    };
    call().await.unwrap();
    assert!(matches!(call().await, Err(Error::ResultUnavailable)));
    assert_eq!(world.effects.count(), 1);
}

#[tokio::test]
async fn a_result_over_the_limit_is_returned_marked_and_never_runs_again() {
    let world = World::with(|engine| engine.max_result(1000));
    let call = |size: usize| {
        let world = &world;
        let body = async move {
            world.effects.happen();
            Ok::<_, Error>(Outcome::new("x".repeat(size)))
        };
        world.operation().run(body)
    };
    let roomy = World::new();
    let operation = roomy.operation().max_result(1000);
    let kept = operation
        .run(async { Ok::<_, Error>(Outcome::new("x".repeat(999))) })
        .await;
    assert!(
        matches!(
            kept.unwrap().provenance(),
            Provenance::Executed { kept: false, .. }
        ),
        "an operation has a limit of its own"
    );
    let first = call(999).await.unwrap();
    assert_eq!(
        first.provenance(),
        Provenance::Executed {
            attempt: 1,
            kept: false
        }
    );
    assert_eq!(first.value().len(), 999, "with its quotes it is too long");
    assert!(matches!(call(1).await, Err(Error::ResultUnavailable)));
    assert_eq!(world.effects.count(), 1);
}

#[tokio::test]
async fn a_result_of_another_type_is_an_error_and_nothing_runs() {
    let world = World::new();
    assert_eq!(world.call().await.unwrap(), 1);
    let body = async {
        world.effects.happen();
        Ok::<_, Error>("text".to_owned())
    };
    let answer = world.operation().run(body).await;
    assert!(matches!(answer, Err(Error::Incompatible(_))), "{answer:?}");
    assert_eq!(world.effects.count(), 1);
}

#[tokio::test]
async fn a_field_that_was_added_since_does_not_break_old_records() {
    #[derive(Serialize, Deserialize)]
    struct Old {
        id: u32,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct New {
        id: u32,
        #[serde(default)]
        note: Option<String>,
    }
    let world = World::new();
    world
        .operation()
        .run(async { Ok::<_, Error>(Old { id: 4 }) })
        .await
        .unwrap();
    let new = world
        .operation()
        .run(async { Ok::<New, Error>(New { id: 5, note: None }) });
    assert_eq!(new.await.unwrap(), New { id: 4, note: None });
}

#[tokio::test]
async fn large_integers_and_bytes_come_back_as_they_were() {
    let world = World::new();
    let value: (u64, i128, Vec<u8>, HashMap<String, Option<()>>) = (
        u64::MAX,
        i128::MIN,
        (0..=255).collect(),
        HashMap::from([("a".to_owned(), None)]),
    );
    let call = || {
        world
            .operation()
            .run(async { Ok::<_, Error>(value.clone()) })
    };
    assert_eq!(call().await.unwrap(), value);
    assert_eq!(call().await.unwrap(), value);
}

mod codecs {
    use erased_serde::{Deserializer, Serialize};
    use idempotent_core::{BoxError, Codec, CodecId, Engine, Json};

    use super::*;

    /// JSON, backwards.
    #[derive(Debug)]
    struct Backwards;

    impl Codec for Backwards {
        fn id(&self) -> CodecId {
            CodecId::new(100).unwrap()
        }

        fn encode(&self, value: &dyn Serialize) -> Result<Vec<u8>, BoxError> {
            let mut bytes = Json.encode(value)?;
            bytes.reverse();
            Ok(bytes)
        }

        fn decode(
            &self,
            bytes: &[u8],
            read: &mut dyn FnMut(&mut dyn Deserializer<'_>) -> Result<(), BoxError>,
        ) -> Result<(), BoxError> {
            let forwards: Vec<_> = bytes.iter().rev().copied().collect();
            Json.decode(&forwards, read)
        }
    }

    #[tokio::test]
    async fn a_codec_can_change_while_old_records_live() {
        let world = World::new();
        let call = |engine: Engine, key: &'static str| {
            let body = async { Ok::<_, Error>(vec![world.effects.happen(), 20]) };
            engine.operation("test").key(key).run(body)
        };
        let json = world.engine.clone();
        let new = Engine::builder(world.store.clone())
            .codec(Backwards)
            .build();
        let back = Engine::builder(world.store.clone())
            .also_read(Backwards)
            .build();

        call(json.clone(), "old").await.unwrap();
        assert_eq!(call(new.clone(), "old").await.unwrap(), [1, 20]);
        call(new, "new").await.unwrap();
        assert_eq!(call(back, "new").await.unwrap(), [2, 20]);
        let unknown = call(json, "new").await;
        assert!(
            matches!(unknown, Err(Error::Incompatible(_))),
            "{unknown:?}"
        );
        assert_eq!(world.effects.count(), 2);
    }
}
