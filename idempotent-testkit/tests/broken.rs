//! The suite notices what is broken, and every case of it notices something.

use std::collections::BTreeSet;
use std::time::Duration;

use idempotent_core::{Clock, Timestamp};
use idempotent_testkit::broken::{BrokenStore, Defect, defects};
use idempotent_testkit::conformance::{Case, store_cases};
use idempotent_testkit::equality::Sequences;
use idempotent_testkit::{Harness, store_tests};

tokio::task_local! {
    /// The defect of the stores that this task starts. Without one they are sound.
    static DEFECT: &'static Defect;
}

struct Broken {
    store: BrokenStore,
    clock: Clock,
}

impl Harness for Broken {
    type Store = BrokenStore;

    const PRECISION: Duration = Duration::ZERO;

    async fn start() -> Self {
        let defect = DEFECT.try_with(|defect| *defect).unwrap_or(&Defect::NONE);
        let clock = Clock::manual();
        Self {
            store: BrokenStore::new(defect, clock.clone()),
            clock,
        }
    }

    async fn store(&self) -> BrokenStore {
        self.store.client()
    }

    async fn pass(&self, duration: Duration) {
        self.clock.advance(duration);
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// A broken store is sound but for its defect.
mod without_a_defect {
    use super::*;

    store_tests!(Broken);
}

/// Whether `check` panics with stores of this defect. Time that nobody uses passes at once.
fn notices(defect: &'static Defect, check: impl Future<Output = ()> + Send + 'static) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("the machine has room for a runtime");
    let check = DEFECT.scope(defect, check);
    runtime.block_on(async {
        tokio::spawn(check)
            .await
            .is_err_and(|error| error.is_panic())
    })
}

fn case(name: &str) -> Case {
    let found = store_cases::<Broken>()
        .into_iter()
        .find(|case| case.name() == name);
    found.unwrap_or_else(|| panic!("there is no case `{name}`"))
}

/// The messages of panics that have to happen would hide those that must not.
fn without_messages(check: impl FnOnce() -> Vec<String>) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let unnoticed = check();
    std::panic::set_hook(hook);
    assert!(
        unnoticed.is_empty(),
        "not noticed:\n{}",
        unnoticed.join("\n")
    );
}

#[test]
fn every_defect_is_noticed_by_its_cases() {
    without_messages(|| {
        let mut unnoticed = Vec::new();
        for defect in defects() {
            for name in defect.noticed_by() {
                let case = case(name);
                if !notices(defect, async move { case.run().await }) {
                    unnoticed.push(format!("`{}` by `{name}`", defect.name()));
                }
            }
        }
        unnoticed
    });
}

#[test]
fn every_case_notices_a_defect() {
    let noticed: BTreeSet<_> = defects().flat_map(Defect::noticed_by).copied().collect();
    let cases: BTreeSet<_> = store_cases::<Broken>().iter().map(Case::name).collect();
    assert_eq!(
        cases.difference(&noticed).collect::<Vec<_>>(),
        [] as [&&str; 0]
    );
}

#[test]
fn every_defect_has_a_name_and_a_case() {
    let names: BTreeSet<_> = defects().map(Defect::name).collect();
    assert_eq!(
        names.len(),
        defects().count(),
        "two defects have the same name"
    );
    assert!(defects().all(|defect| !defect.noticed_by().is_empty()));
}

/// Sequences are about one small record, one caller at a time.
const BEYOND_SEQUENCES: [&str; 27] = [
    "a codec has two digits",
    "a completion tells nobody",
    "a completion without a result is none",
    "a doubt tells nobody",
    "a dropped call leaves its lock",
    "a page loses its last entry",
    "a release tells nobody",
    "a result is cut off",
    "a result is text",
    "a step is cut off",
    "a step is text",
    "an empty result is a missing one",
    "durations are 32 bit milliseconds",
    "every operation checks, then acts",
    "keys are compared in lower case",
    "keys are trimmed",
    "lists know no ages",
    "lists know no scopes",
    "lists know no states",
    "lists know no steps",
    "long keys are cut off",
    "purging knows no batches",
    "purging nothing never ends",
    "purging removes tombstones",
    "purging removes what has lapsed",
    "there are 64 steps at most",
    "what has lapsed is not counted",
];

#[test]
fn the_comparison_with_the_specification_notices_all_other_defects() {
    without_messages(|| {
        let mut unnoticed = Vec::new();
        for defect in defects() {
            let compared = notices(defect, async {
                Sequences::new(1)
                    .count(1_000)
                    .check(Broken::start().await)
                    .await;
            });
            if compared == BEYOND_SEQUENCES.contains(&defect.name()) {
                unnoticed.push(format!("`{}`: {compared}", defect.name()));
            }
        }
        unnoticed
    });
}
