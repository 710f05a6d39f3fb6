use std::time::Duration;

use idempotent_core::protocol::{Claim, Completion, Update};
use idempotent_core::{Inspect, Key, Query};

use super::prelude::*;

/// Values that some store, some day, took for one another, or for something else than a key.
fn odd_values() -> Vec<String> {
    let mut values: Vec<String> = [
        "order",
        "Order",
        "ORDER",
        " order",
        "order ",
        "order/",
        "/order",
        "order/7",
        "order%2F7",
        "%",
        "_",
        "*",
        "?",
        "[a-z]",
        "{order}",
        "order:7",
        "'",
        "\"",
        "\\",
        "`",
        "; drop table x",
        "0",
        "00",
        "-1",
        "null",
        "true",
        "naïve",
        "nai\u{308}ve",
        "\u{1f980}",
        "日本語",
        "ß",
        "ss",
        "\u{202e}redro",
        "\u{feff}",
        "i",
        "ı",
        "İ",
    ]
    .map(str::to_owned)
    .into();
    values.push("x".repeat(Key::MAX_VALUE_BYTES));
    values.push("x".repeat(Key::MAX_VALUE_BYTES - 1));
    values.push("日".repeat(Key::MAX_VALUE_BYTES / 3));
    values
}

/// Two keys are equal if their bytes are: case, white space and normalization all count.
pub(super) async fn keys_of_any_text_are_kept_apart<H: Harness>(world: &World<H>) {
    let keys: Vec<_> = odd_values().iter().map(|value| key(value)).collect();
    let mut grants = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        let grant = world.grant(key, &request()).await;
        world.finish(key, &grant, &value(number.to_string())).await;
        grants.push(grant);
    }
    for ((number, key), grant) in keys.iter().enumerate().zip(&grants) {
        let Claim::Done(recorded) = world.claim(key, &request()).await else {
            panic!("{:?} is not done", key.value());
        };
        assert_eq!(
            recorded.payload,
            payload(number.to_string()),
            "{:?}",
            key.value()
        );
        assert_eq!(recorded.fence, grant.fence);
    }
}

pub(super) async fn keys_of_any_text_are_listed<H: Harness>(world: &World<H>) {
    let mut keys: Vec<_> = odd_values().iter().map(|value| key(value)).collect();
    keys.push(Key::new(&"s".repeat(Key::MAX_SCOPE_BYTES), "order").unwrap());
    keys.push(Key::new(&"/".repeat(Key::MAX_SCOPE_BYTES), "order").unwrap());
    for key in &keys {
        world.grant(key, &request()).await;
    }

    let mut listed = Vec::new();
    let mut next = Some(Query::all().with_limit(7));
    while let Some(query) = next {
        let page = world.store().list(&query).await.unwrap();
        next = query.next(&page);
        listed.extend(page.entries.into_iter().map(|entry| entry.key));
    }
    keys.sort_unstable();
    listed.sort_unstable();
    listed.dedup();
    assert_eq!(listed, keys);
}

/// From the shortest durations to the longest that an engine lets pass.
pub(super) async fn durations_of_any_length_are_kept<H: Harness>(world: &World<H>) {
    let longest = Duration::from_secs(60 * 60 * 24 * 365 * 30);
    let mut claim = kept(request(), longest);
    claim.lease = longest;
    claim.ttl = longest;
    let key = key("longest");
    let grant = world.grant(&key, &claim).await;
    assert_eq!(grant.keep, longest);
    assert!(matches!(
        world.claim(&key, &request()).await,
        Claim::Busy { .. }
    ));
    assert_eq!(world.renew(&key, &grant, longest).await, Update::Applied);
    world
        .finish(&key, &grant, &Completion::value(payload("paid"), longest))
        .await;
    let Claim::Done(recorded) = world.claim(&key, &request()).await else {
        panic!("not done");
    };
    near(recorded.remaining, longest);

    let key = self::key("shortest");
    let mut claim = request();
    claim.lease = Duration::from_millis(1);
    world.grant(&key, &claim).await;
    world.pass().await;
    let second = world.grant(&key, &request()).await;
    assert_eq!(second.attempt, 2);
    let shortest = Completion::value(payload("paid"), Duration::from_millis(1));
    world.finish(&key, &second, &shortest).await;
    world.pass().await;
    assert_eq!(world.get(&key).await, None);
}

/// A call that is dropped in the middle is one whose reply was lost.
pub(super) async fn a_dropped_call_harms_no_later_one<H: Harness>(world: &World<H>) {
    for number in 0..16 {
        let (key, request) = (key(&format!("order {number}")), request());
        drop_after(number % 4, world.claim(&key, &request)).await;
        let grant = world.grant(&key, &request).await;

        drop_after(number % 4, world.complete(&key, &grant, &value("paid"))).await;
        let update = world.complete(&key, &grant, &value("paid")).await;
        assert!(
            matches!(update, Update::Applied | Update::Repeated),
            "{update:?}"
        );
        let claim = world.claim(&key, &self::request()).await;
        assert!(matches!(claim, Claim::Done(_)), "{claim:?}");
    }
}

/// Polls `call` up to so many times, then drops it.
async fn drop_after<T>(polls: usize, call: impl Future<Output = T> + Send) {
    let mut call = std::pin::pin!(call);
    for _ in 0..polls {
        let done = std::future::poll_fn(|context| {
            std::task::Poll::Ready(call.as_mut().poll(context).is_ready())
        });
        if done.await {
            return;
        }
        tokio::task::yield_now().await;
    }
}
