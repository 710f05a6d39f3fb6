//! Stores that fail when they are told to.
//!
//! [`Faults`] is a script, [`Faults::wrap`] puts it before a store. The store behind it is real, so
//! what a test sees after a fault is what the protocol says, and not what a mock was told.
//!
//! # Examples
//!
//! The store records a result, and its reply is lost:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use idempotent_core::protocol::{Claim, ClaimRequest, Completion, Update};
//! use idempotent_core::{CodecId, Fingerprint, Key, MemoryStore, Owner, Payload, Store};
//! use idempotent_testkit::faults::{Faults, Op};
//!
//! let faults = Faults::new();
//! let store = faults.wrap(MemoryStore::new());
//! faults.on(Op::Complete).nth(1).drop_reply();
//!
//! let key = Key::new("charge", "order 7")?;
//! let minute = Duration::from_secs(60);
//! let request = ClaimRequest::new(Owner::random()?, Fingerprint::EMPTY, minute, minute);
//! let Claim::Granted(grant) = store.claim(&key, &request).await? else { panic!() };
//!
//! let paid = Payload { codec: CodecId::JSON, bytes: Bytes::from_static(b"\"paid\"") };
//! let completion = Completion::value(paid, minute);
//! assert!(store.complete(&key, &grant, &completion).await.is_err());
//! assert_eq!(store.complete(&key, &grant, &completion).await?, Update::Repeated);
//! assert_eq!(faults.count(Op::Complete), 2);
//! # Ok(())
//! # }
//! ```

mod gate;
mod rule;
mod store;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use idempotent_core::{Fingerprint, Key, Step};

pub use self::gate::Gate;
pub use self::rule::When;
use self::rule::{Fault, Rule};
pub use self::store::Faulty;

/// What a store can be asked, apart from its name.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Op {
    /// [`Store::claim`](idempotent_core::Store::claim).
    Claim,
    /// [`Store::complete`](idempotent_core::Store::complete).
    Complete,
    /// [`Store::record_step`](idempotent_core::Store::record_step).
    RecordStep,
    /// [`Store::release`](idempotent_core::Store::release).
    Release,
    /// [`Store::renew`](idempotent_core::Store::renew).
    Renew,
    /// [`Store::watch`](idempotent_core::Store::watch).
    Watch,
}

/// A script of faults, and a log of the calls that the store was asked.
///
/// # Clone
///
/// Clones are handles to the same script.
#[derive(Clone, Default)]
pub struct Faults {
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    calls: Vec<Op>,
    /// The steps that were to be recorded.
    steps: Vec<NotedStep>,
    rules: Vec<Rule>,
}

/// A step that was to be recorded.
#[derive(Clone)]
pub(crate) struct NotedStep {
    /// The number of the call, from 1.
    pub(crate) call: usize,
    pub(crate) key: Key,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) step: Step,
}

impl Faults {
    /// A script without faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts the script before `store`. Several stores may share one script.
    #[must_use]
    pub fn wrap<S>(&self, store: S) -> Faulty<S> {
        Faulty::new(store, self.clone())
    }

    /// Begins a rule about calls of one kind, as in
    /// `faults.on(Op::Renew).nth(2).fail()`.
    ///
    /// Rules apply in the order of their making, several to one call if they fit.
    pub fn on(&self, op: Op) -> When<'_> {
        When::new(self, Some(op))
    }

    /// Begins a rule about calls of every kind.
    pub fn on_any(&self) -> When<'_> {
        When::new(self, None)
    }

    /// Forgets all rules, so that the store works again. Calls that hang go on hanging.
    pub fn clear(&self) {
        self.lock().rules.clear();
    }

    /// How often the store was asked for `op`, whatever became of it.
    #[must_use]
    pub fn count(&self, op: Op) -> usize {
        self.lock().calls.iter().filter(|call| **call == op).count()
    }

    /// What the store was asked, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<Op> {
        self.lock().calls.clone()
    }

    /// Which steps the store was asked to record, in order.
    #[must_use]
    pub fn steps(&self) -> Vec<String> {
        let script = self.lock();
        script
            .steps
            .iter()
            .map(|noted| noted.step.name.clone())
            .collect()
    }

    /// The number of the call, from 1, that was to record this step.
    pub(crate) fn call_of(&self, step: &str) -> Option<usize> {
        let script = self.lock();
        let found = script.steps.iter().find(|noted| noted.step.name == step);
        found.map(|noted| noted.call)
    }

    pub(crate) fn noted_steps(&self) -> Vec<NotedStep> {
        self.lock().steps.clone()
    }

    /// Notes what the next call is to record.
    fn note_step(&self, key: &Key, fingerprint: Fingerprint, step: &Step) {
        let mut script = self.lock();
        let call = script.calls.len() + 1;
        script.steps.push(NotedStep {
            call,
            key: key.clone(),
            fingerprint,
            step: step.clone(),
        });
    }

    /// Notes a call, and returns the faults that befall it.
    fn strike(&self, op: Op) -> Vec<Fault> {
        let mut script = self.lock();
        script.calls.push(op);
        script
            .rules
            .iter_mut()
            .filter_map(|rule| rule.strike(op))
            .collect()
    }

    fn add(&self, rule: Rule) {
        self.lock().rules.push(rule);
    }

    fn lock(&self) -> MutexGuard<'_, Script> {
        // Nothing panics while the lock is held half-way through a change.
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let script = self.lock();
        f.debug_struct("Faults")
            .field("calls", &script.calls)
            .field("rules", &script.rules.len())
            .finish()
    }
}
