//! Random sequences of operations, for which a store must do as the specification does.
//!
//! The specification is [`apply`](idempotent_core::protocol::apply), a pure function. After every
//! operation, the store's reply and the record that it keeps are compared with what `apply` gives.
//!
//! # What is compared
//!
//! Everything. Times and fences, which are times too, may differ by [`Harness::PRECISION`] and by
//! how long the call took. Where a lease or a record may have run out during the call, either
//! outcome is right. With a clock that stands still, and a precision of zero, nothing may differ.
//!
//! # Examples
//!
//! ```
//! # use std::time::Duration;
//! # use idempotent_core::{Clock, MemoryStore, Timestamp};
//! # use idempotent_testkit::Harness;
//! # struct MyHarness(MemoryStore, Clock);
//! # impl Harness for MyHarness {
//! #     type Store = MemoryStore;
//! #     const PRECISION: Duration = Duration::ZERO;
//! #     async fn start() -> Self {
//! #         let clock = Clock::manual();
//! #         Self(MemoryStore::new().with_clock(clock.clone()), clock)
//! #     }
//! #     async fn store(&self) -> MemoryStore { self.0.clone() }
//! #     async fn pass(&self, duration: Duration) { self.1.advance(duration) }
//! #     fn now(&self) -> Timestamp { self.1.now() }
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use idempotent_testkit::equality::Sequences;
//!
//! let summary = Sequences::new(7).count(200).check(MyHarness::start().await).await;
//! assert_eq!(summary.sequences, 200);
//! # }
//! ```

mod ask;
mod plan;
mod run;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tokio::task::JoinSet;

use self::plan::Plan;
use self::run::{Mismatch, Runner};
use crate::harness::Harness;

/// So many times at most a failing sequence is run again to make it shorter.
const SHRINKING_TRIES: usize = 400;

/// Which sequences to try.
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is compared until `check` is called"]
pub struct Sequences {
    seed: u64,
    first: usize,
    count: usize,
    length: usize,
    at_once: usize,
}

impl Sequences {
    /// 100 sequences of 24 operations, one after the other. The same seed gives the same ones.
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            first: 0,
            count: 100,
            length: 24,
            at_once: 1,
        }
    }

    /// Tries so many sequences.
    pub const fn count(mut self, sequences: usize) -> Self {
        self.count = sequences;
        self
    }

    /// Tries sequences of so many operations.
    pub const fn length(mut self, operations: usize) -> Self {
        self.length = operations;
        self
    }

    /// Tries so many sequences at a time, each with a key of its own, for stores whose time passes
    /// by itself.
    pub const fn at_once(mut self, sequences: usize) -> Self {
        self.at_once = sequences;
        self
    }

    /// Leaves out the sequences before this one, to see a failure again.
    pub const fn starting_with(mut self, sequence: usize) -> Self {
        self.first = sequence;
        self
    }

    /// Runs the sequences on the harness's store, and compares.
    ///
    /// # Panics
    ///
    /// If the store and the specification differ. The message has the sequence, as short as it could
    /// be made, and how to run it again.
    pub async fn check<H: Harness>(self, harness: H) -> Summary {
        let runner = Arc::new(Runner::new(harness).await);
        let mut numbers = self.first..self.first + self.count;
        let mut running = JoinSet::new();
        let mut summary = Summary::default();
        loop {
            while running.len() < self.at_once.max(1)
                && let Some(number) = numbers.next()
            {
                let (runner, plan) = (Arc::clone(&runner), self.plan::<H>(number));
                running.spawn(async move {
                    let outcome = runner.run(&plan).await;
                    (number, plan, outcome)
                });
            }
            let Some(run) = running.join_next().await else {
                return summary;
            };
            match run {
                Ok((_, _, Ok(replies))) => summary.add(replies),
                Ok((number, plan, Err(mismatch))) => {
                    running.shutdown().await;
                    let (plan, mismatch) = shrink(&runner, plan, mismatch).await;
                    panic!("{}", self.failure(number, &plan, &mismatch));
                }
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
    }

    fn plan<H: Harness>(&self, number: usize) -> Plan {
        Plan::random(self.seed, number, self.length, H::SHORT)
    }

    fn failure(&self, number: usize, plan: &Plan, mismatch: &Mismatch) -> String {
        format!(
            "the store differs from the specification in sequence {number}:\n\n{plan}\n{mismatch}\n\n\
             to see it again: Sequences::new({}).starting_with({number}).count(1).length({})",
            self.seed, self.length,
        )
    }
}

/// What was compared.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// How many sequences.
    pub sequences: usize,
    /// How many operations.
    pub operations: usize,
    /// How often there was which reply, as in `granted` or `step: known`.
    pub replies: BTreeMap<&'static str, usize>,
}

impl Summary {
    fn add(&mut self, replies: Vec<&'static str>) {
        self.sequences += 1;
        self.operations += replies.len();
        for reply in replies {
            *self.replies.entry(reply).or_default() += 1;
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} operations in {} sequences",
            self.operations, self.sequences
        )?;
        self.replies
            .iter()
            .try_for_each(|(reply, count)| writeln!(f, "{count:>8} {reply}"))
    }
}

/// Leaves out what the comparison fails without: halves first, then ever smaller parts.
async fn shrink<H: Harness>(
    runner: &Runner<H>,
    mut plan: Plan,
    mut mismatch: Mismatch,
) -> (Plan, Mismatch) {
    plan.truncate(mismatch.operations);
    let mut part = plan.len() / 2;
    let mut start = 0;
    for _ in 0..SHRINKING_TRIES {
        if start >= plan.len() {
            start = 0;
            part /= 2;
        }
        if part == 0 {
            break;
        }
        let shorter = plan.without(start, part);
        match runner.run(&shorter).await {
            Ok(_) => start += part,
            Err(still) => {
                plan = shorter;
                plan.truncate(still.operations);
                mismatch = still;
            }
        }
    }
    (plan, mismatch)
}
