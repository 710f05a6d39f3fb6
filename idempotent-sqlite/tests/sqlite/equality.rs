//! The store does as the specification does.

use idempotent_testkit::Harness;
use idempotent_testkit::equality::Sequences;

use crate::common::Manual;

/// Replies, and records after each of them, byte by byte and microsecond by microsecond.
#[tokio::test]
async fn random_sequences_give_what_the_specification_gives() {
    let summary = Sequences::new(41)
        .count(2_000)
        .check(Manual::start().await)
        .await;
    println!("{summary}");
    assert_eq!(summary.sequences, 2_000);
    assert!(
        summary.replies.values().all(|&count| count > 100),
        "all are met often: {summary}"
    );
    assert_eq!(summary.replies.len(), 14, "{summary}");
}

/// Long enough for many steps, and for many lives of one key.
#[tokio::test]
async fn long_sequences_give_what_the_specification_gives() {
    Sequences::new(42)
        .count(10)
        .length(1_000)
        .check(Manual::start().await)
        .await;
}
