//! Whether a new version of an operation can go on from what an old one has recorded.
//!
//! Operations with steps may be in progress while a new version of their program comes into service. A
//! [`History`] of the old version, kept in a file, replays against the new one in a test: at each point from
//! which an attempt could have to go on.
//!
//! # Examples
//!
//! ```
//! use idempotent_core::{Engine, Error};
//! use idempotent_testkit::history::{History, ReplayedStore};
//!
//! async fn order(store: ReplayedStore) -> Result<(), Error> {
//!     let engine = Engine::new(store);
//!     let operation = engine.operation("orders.create").key("order-17");
//!     operation
//!         .run_with(async |run| {
//!             run.step("charge", async |_| Ok::<_, Error>(500)).await?;
//!             run.step("mail", async |_| Ok(())).await
//!         })
//!         .await
//! }
//!
//! async fn another_order(store: ReplayedStore) -> Result<(), Error> {
//!     let engine = Engine::new(store);
//!     let operation = engine.operation("orders.create").key("order-17");
//!     operation
//!         .run_with(async |run| {
//!             run.step("check", async |_| Ok::<_, Error>(())).await?; // new, and not `patched`
//!             run.step("charge", async |_| Ok::<_, Error>(500)).await?;
//!             run.step("mail", async |_| Ok(())).await
//!         })
//!         .await
//! }
//!
//! let history = History::record(order);
//! history.assert_replays(order);
//! assert_eq!(history.diverging(another_order), [1, 2]); // once `charge` is recorded
//!
//! // To be kept in a file:
//! let text = history.to_json().unwrap();
//! assert_eq!(History::from_json(&text).unwrap(), history);
//! ```

use std::time::Duration;

use idempotent_core::protocol::{Claim, ClaimRequest, Release, ReleaseMode};
use idempotent_core::{
    Clock, Ending, Entry, Fingerprint, Inspect, Key, MemoryStore, Owner, Step, Store,
};
use serde::{Deserialize, Serialize};

use crate::faults::{Faults, Faulty};
use crate::interruptions::{Process, apart};

/// The store that a function is given.
pub type ReplayedStore = Faulty<MemoryStore>;

const LEASE: Duration = Duration::from_secs(30);
const TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// What an operation has recorded in its steps.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct History {
    key: String,
    fingerprint: String,
    steps: Vec<RecordedStep>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct RecordedStep {
    name: String,
    /// As text, if it is one.
    value: Value,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
enum Value {
    Text(String),
    Bytes(Vec<u8>),
}

impl History {
    /// Runs `function`, which makes an engine of the store it is given, and calls one operation.
    ///
    /// # Panics
    ///
    /// If the operation records no step, or panics.
    pub fn record<F, Answer>(function: F) -> Self
    where
        F: FnOnce(ReplayedStore) -> Answer + Send,
        Answer: Future,
    {
        let noted = apart(|| {
            let (faults, clock) = (Faults::new(), Clock::manual());
            let store = MemoryStore::new().with_clock(clock.clone());
            let call = function(faults.wrap(store));
            _ = Process::start(&clock).run(call, &faults);
            faults.noted_steps()
        });
        let first = noted.first().expect("the operation records no step");
        Self {
            key: first.key.as_str().to_owned(),
            fingerprint: first.fingerprint.to_string(),
            steps: noted
                .iter()
                .map(|noted| RecordedStep::new(&noted.step))
                .collect(),
        }
    }

    /// What is recorded of an operation that is in progress somewhere, as
    /// [`Inspect::list`] shows it.
    #[must_use]
    pub fn of(entry: &Entry) -> Self {
        Self {
            key: entry.key.as_str().to_owned(),
            fingerprint: entry.record.fingerprint.to_string(),
            steps: entry.record.steps.iter().map(RecordedStep::new).collect(),
        }
    }

    /// The history as text.
    ///
    /// # Errors
    ///
    /// None that is known: it has nothing but texts and numbers.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// The history that was kept as `text`.
    ///
    /// # Errors
    ///
    /// If `text` is no history.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// With how many of its steps recorded the operation could not go on in `function`, which calls it with
    /// the same key and arguments.
    ///
    /// The steps that are not recorded run: give `function` what it needs for a test.
    ///
    /// # Panics
    ///
    /// If the history is of no readable key, or `function` panics.
    pub fn diverging<F, Answer>(&self, function: F) -> Vec<usize>
    where
        F: Fn(ReplayedStore) -> Answer + Sync,
        Answer: Future,
    {
        let lengths = 0..=self.steps.len();
        apart(|| {
            lengths
                .filter(|steps| self.diverges(*steps, &function))
                .collect()
        })
    }

    /// Asserts that the operation could go on in `function` from wherever it stands.
    ///
    /// # Panics
    ///
    /// If it could not. The message says after which steps.
    #[track_caller]
    pub fn assert_replays<F, Answer>(&self, function: F)
    where
        F: Fn(ReplayedStore) -> Answer + Sync,
        Answer: Future,
    {
        let diverging = self.diverging(function);
        let after = diverging.iter().map(|steps| {
            let names: Vec<_> = self.steps[..*steps]
                .iter()
                .map(|step| &*step.name)
                .collect();
            format!("\n  after {names:?}")
        });
        let after: String = after.collect();
        assert!(after.is_empty(), "the operation cannot go on:{after}");
    }

    fn diverges<F, Answer>(&self, steps: usize, function: &F) -> bool
    where
        F: Fn(ReplayedStore) -> Answer,
        Answer: Future,
    {
        let (faults, clock) = (Faults::new(), Clock::manual());
        let store = MemoryStore::new().with_clock(clock.clone());
        let key = Key::parse(&self.key).expect("the history is of a key");
        let replay = async {
            self.prepare(&store, &key, steps).await;
            function(faults.wrap(store.clone())).await;
            store.get(&key).await.expect("memory does not fail")
        };
        let record = Process::start(&clock).run(replay, &faults);
        record.is_some_and(|record| record.ending == Some(Ending::Stuck))
    }

    /// Leaves an attempt behind that has recorded so many `steps`.
    async fn prepare(&self, store: &MemoryStore, key: &Key, steps: usize) {
        const NEW: &str = "nobody has used the store";
        let fingerprint: Fingerprint = self.fingerprint.parse().expect("it is a fingerprint");
        let owner = Owner::random().expect("the machine has randomness");
        let request = ClaimRequest::new(owner, fingerprint, LEASE, TTL);
        let Ok(Claim::Granted(grant)) = store.claim(key, &request).await else {
            panic!("{NEW}");
        };
        for step in &self.steps[..steps] {
            let step = step.to_step();
            store
                .record_step(key, &grant, &step, LEASE)
                .await
                .expect(NEW);
        }
        let release = Release::new(Ending::Error, ReleaseMode::Free);
        store
            .release(key, &grant.holder(), release)
            .await
            .expect(NEW);
    }
}

impl RecordedStep {
    fn new(step: &Step) -> Self {
        let bytes = step.value.to_vec();
        let value = String::from_utf8(bytes)
            .map_or_else(|error| Value::Bytes(error.into_bytes()), Value::Text);
        let name = step.name.clone();
        Self { name, value }
    }

    fn to_step(&self) -> Step {
        let value = match &self.value {
            Value::Text(text) => text.clone().into(),
            Value::Bytes(bytes) => bytes.clone().into(),
        };
        let name = self.name.clone();
        Step { name, value }
    }
}
