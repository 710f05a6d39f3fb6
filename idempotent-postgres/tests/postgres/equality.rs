//! The store does as the specification does.

use idempotent_testkit::Harness;
use idempotent_testkit::equality::Sequences;

use crate::common::World;

/// Time passes by itself here, so that many sequences wait for it together.
#[tokio::test(flavor = "multi_thread")]
async fn random_sequences_give_what_the_specification_gives() {
    let summary = Sequences::new(51)
        .count(2_000)
        .at_once(125)
        .check(World::start().await)
        .await;
    println!("{summary}");
    assert_eq!(summary.replies.len(), 14, "{summary}");
}

/// Long enough for many steps, and for many lives of one key.
#[tokio::test(flavor = "multi_thread")]
async fn long_sequences_give_what_the_specification_gives() {
    Sequences::new(52)
        .count(8)
        .at_once(8)
        .length(150)
        .check(World::start().await)
        .await;
}
