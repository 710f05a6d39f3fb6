//! The memory store does as the specification does.

mod common;

use idempotent_testkit::Harness;
use idempotent_testkit::equality::Sequences;

use self::common::Memory;

/// Every reply that there is.
const REPLIES: [&str; 14] = [
    "busy",
    "deletion",
    "done",
    "granted",
    "in doubt",
    "mismatch",
    "stale",
    "step: known",
    "step: lost",
    "step: recorded",
    "update: applied",
    "update: healed",
    "update: lost",
    "update: repeated",
];

#[tokio::test]
async fn random_sequences_give_what_the_specification_gives() {
    let sequences = Sequences::new(2024).count(10_000);
    let summary = sequences.check(Memory::start().await).await;
    println!("{summary}");
    assert_eq!(summary.sequences, 10_000);
    assert!(
        summary.replies.keys().eq(&REPLIES),
        "every reply is met: {summary}"
    );
    assert!(
        summary.replies.values().all(|count| *count > 1_000),
        "and often: {summary}"
    );
}

#[tokio::test]
async fn long_sequences_give_what_the_specification_gives() {
    let sequences = Sequences::new(2025).count(50).length(2_000);
    sequences.check(Memory::start().await).await;
}
