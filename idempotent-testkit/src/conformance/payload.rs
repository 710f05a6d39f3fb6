use bytes::Bytes;
use idempotent_core::protocol::{Claim, Completion, StepReply, Update};
use idempotent_core::{CodecId, Ending, Payload};

use super::prelude::*;

/// The largest result that an engine records by default.
const MEBIBYTE: usize = 1024 * 1024;

/// All bytes that there are, over and over.
fn binary(length: usize) -> Bytes {
    (0..=u8::MAX).cycle().take(length).collect()
}

async fn survives<H: Harness>(world: &World<H>, name: &str, payload: Payload) {
    let key = key(name);
    for completion in [
        Completion::value(payload.clone(), LONG),
        Completion::error(payload.clone(), LONG),
    ] {
        let key = self::key(&format!("{name} {}", completion.failed));
        let grant = world.grant(&key, &request()).await;
        world.finish(&key, &grant, &completion).await;
        let Claim::Done(recorded) = world.claim(&key, &request()).await else {
            panic!("not done");
        };
        assert!(
            recorded.payload == payload,
            "{name}: the result came back changed"
        );
        assert!(world.record(&key).await.result == payload, "{name}");
        assert_eq!(
            world.complete(&key, &grant, &completion).await,
            Update::Repeated,
            "{name}"
        );
    }
    assert_eq!(world.get(&key).await, None);
}

/// A store that keeps text must not decode what it is given.
pub(super) async fn results_are_bytes<H: Harness>(world: &World<H>) {
    survives(world, "all bytes", payload(binary(256))).await;
    survives(
        world,
        "invalid UTF-8",
        payload(&b"\xff\xfe\0\r\n\xc3\x28"[..]),
    )
    .await;
    survives(
        world,
        "text",
        payload("naïve \u{1f980} \"quoted\" 'text' \\"),
    )
    .await;
}

pub(super) async fn a_large_result_survives<H: Harness>(world: &World<H>) {
    survives(world, "1 MiB", payload(binary(MEBIBYTE))).await;
}

/// `()` is a result too, and not a missing one.
pub(super) async fn an_empty_result_is_a_result<H: Harness>(world: &World<H>) {
    survives(world, "empty", payload("")).await;
    survives(world, "no codec", Payload::default()).await;
}

pub(super) async fn the_codec_is_kept<H: Harness>(world: &World<H>) {
    for number in [0, 1, 2, 9, 10, 99, 100, 999] {
        let codec = CodecId::new(number).expect("at most 999");
        let result = Payload {
            codec,
            bytes: Bytes::from_static(b"paid"),
        };
        survives(world, &format!("codec {number}"), result).await;
    }
}

/// A step's name and value may have any content, the store's own separators included.
pub(super) async fn steps_are_bytes<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let steps = [
        step("all bytes", binary(256)),
        step("empty", ""),
        step("", "no name"),
        step("naïve \u{1f980} \"name\" 'of' \\ a\r\n\0 step", "odd"),
        step("10 5 a", "10 5 b"),
        step(&"long".repeat(60), "long"),
    ];
    for step in &steps {
        assert_eq!(world.step(&key, &grant, step).await, StepReply::Recorded);
    }
    for step in &steps {
        let again = world.step(&key, &grant, step).await;
        assert_eq!(
            again,
            StepReply::Known(step.value.clone()),
            "{:?}",
            step.name
        );
    }
    assert_eq!(world.record(&key).await.steps, steps);
    world.free(&key, &grant, Ending::Error).await;
    assert_eq!(world.grant(&key, &request()).await.steps, steps);
}

pub(super) async fn large_steps_survive<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let steps = [
        step("one", binary(MEBIBYTE / 4)),
        step("two", binary(MEBIBYTE / 4 - 1)),
    ];
    for step in &steps {
        assert_eq!(world.step(&key, &grant, step).await, StepReply::Recorded);
    }
    world.free(&key, &grant, Ending::Error).await;
    let second = world.grant(&key, &request()).await;
    assert!(second.steps == steps, "the steps came back changed");
    world.finish(&key, &second, &value("paid")).await;
}

pub(super) async fn many_steps_survive<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let steps: Vec<_> = (0..100)
        .map(|n| step(&format!("step {n}"), n.to_string()))
        .collect();
    for step in &steps {
        assert_eq!(world.step(&key, &grant, step).await, StepReply::Recorded);
    }
    let known = world.step(&key, &grant, &step("step 57", "other")).await;
    assert_eq!(known, StepReply::Known(Bytes::from_static(b"57")));
    assert_eq!(world.record(&key).await.steps, steps);
}
