//! The engine of `idempotency`: claim, run, record, or replay, over a small [`Store`] contract.
//!
//! Services retry, and so do their clients, their proxies and their queues. An operation that runs
//! through an [`Engine`] runs once for each key: a second call returns the first call's answer, waits
//! for it, or says why it cannot. Applications use it through the `idempotency` crate and its
//! attribute; this crate is for whoever implements a store, or does without the attribute.
//!
//! ```
//! use idempotent_core::{Engine, Error, MemoryStore};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! let engine = Engine::new(MemoryStore::new());
//! let charge = |cents: u32| {
//!     let operation = engine.operation("payments.charge").key("order-17").fingerprint(&cents);
//!     operation.run(async move { Ok::<_, Error>(format!("charged {cents}")) })
//! };
//! assert_eq!(charge(500).await?, "charged 500");
//! assert_eq!(charge(500).await?, "charged 500"); // replayed
//! assert!(matches!(charge(900).await, Err(Error::FingerprintMismatch)));
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - Of any number of concurrent calls with one key, one runs; while its lease holds, no other does.
//! - All calls that return `Ok` return the same value.
//! - An `Ok` that is not marked otherwise was recorded.
//! - After a crash, the next call runs again ([`OnAbandoned::Rerun`]) and can see that it is not the
//!   first, or nothing runs until somebody resolves the doubt ([`OnAbandoned::InDoubt`]).
//!
//! # What is not
//!
//! Nobody can promise that an effect outside of the store happens exactly once: a process may die
//! between the effect and its record. With `Rerun` the effect happens at least once, and never twice
//! at the same time while leases hold; with `InDoubt` it happens at most once. A downstream that
//! deduplicates by [`Attempt::key_for`] closes the gap.
//!
//! # Implementing a store
//!
//! A [`Store`] does for one key, atomically, what [`protocol::apply`] does to a record. Where writers
//! can be serialised, it can call that very function. This is a whole store:
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::{Arc, Mutex};
//! use std::time::Duration;
//!
//! use idempotent_core::protocol::{
//!     Claim, ClaimRequest, Completion, Grant, Holder, Operation, Release, Reply, StepReply, Update,
//!     apply,
//! };
//! use idempotent_core::{Clock, Key, Record, Step, Store, StoreError, Watch};
//!
//! #[derive(Clone)]
//! struct MapStore {
//!     records: Arc<Mutex<HashMap<Key, Option<Record>>>>,
//!     clock: Clock,
//! }
//!
//! impl MapStore {
//!     fn apply(&self, key: &Key, operation: &Operation) -> Reply {
//!         let mut records = self.records.lock().expect("no holder panics");
//!         apply(records.entry(key.clone()).or_default(), operation, self.clock.now())
//!     }
//!
//!     fn update(&self, key: &Key, operation: Operation) -> Result<Update, StoreError> {
//!         match self.apply(key, &operation) {
//!             Reply::Update(update) => Ok(update),
//!             reply => Err(StoreError::Backend(format!("{reply:?} to {operation:?}").into())),
//!         }
//!     }
//! }
//!
//! impl Store for MapStore {
//!     fn name(&self) -> &'static str {
//!         "map"
//!     }
//!
//!     async fn claim(&self, key: &Key, request: &ClaimRequest) -> Result<Claim, StoreError> {
//!         match self.apply(key, &Operation::Claim(request.clone())) {
//!             Reply::Claim(claim) => Ok(claim),
//!             reply => Err(StoreError::Backend(format!("{reply:?} to a claim").into())),
//!         }
//!     }
//!
//!     async fn complete(
//!         &self,
//!         key: &Key,
//!         grant: &Grant,
//!         completion: &Completion,
//!     ) -> Result<Update, StoreError> {
//!         let (grant, completion) = (grant.clone(), completion.clone());
//!         self.update(key, Operation::Complete { grant, completion })
//!     }
//!
//!     async fn record_step(
//!         &self,
//!         key: &Key,
//!         grant: &Grant,
//!         step: &Step,
//!         lease: Duration,
//!     ) -> Result<StepReply, StoreError> {
//!         let (grant, step) = (grant.clone(), step.clone());
//!         match self.apply(key, &Operation::RecordStep { grant, step, lease }) {
//!             Reply::Step(reply) => Ok(reply),
//!             reply => Err(StoreError::Backend(format!("{reply:?} to a step").into())),
//!         }
//!     }
//!
//!     async fn release(
//!         &self,
//!         key: &Key,
//!         holder: &Holder,
//!         release: Release,
//!     ) -> Result<Update, StoreError> {
//!         self.update(key, Operation::Release { holder: *holder, release })
//!     }
//!
//!     async fn renew(
//!         &self,
//!         key: &Key,
//!         grant: &Grant,
//!         lease: Duration,
//!     ) -> Result<Update, StoreError> {
//!         self.update(key, Operation::Renew { grant: grant.clone(), lease })
//!     }
//!
//!     async fn watch(&self, _: &Key) -> Result<Watch, StoreError> {
//!         Ok(Watch::never()) // waiters poll
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), idempotent_core::Error> {
//! let store = MapStore { records: Arc::default(), clock: Clock::monotonic() };
//! let engine = idempotent_core::Engine::new(store);
//! for _ in 0..2 {
//!     let operation = engine.operation("answer").key("life");
//!     assert_eq!(operation.run(async { Ok::<_, idempotent_core::Error>(42) }).await?, 42);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! `idempotent-testkit` has the suite that every store passes, and stores that fail on purpose.
//!
//! # Words
//!
//! A **key** names one call: the **scope** says which operation it belongs to, the value is the
//! caller's. The **fingerprint** is a digest of the arguments. An **attempt** is one run of the
//! operation; to **claim** is to become the one who runs. A claim holds for a **lease**, is proven by
//! a secret **owner**, and numbered by a **fence**. A **record** is what the store keeps; a **replay**
//! returns a recorded result. The **ttl** is how long a finished record is kept. A **takeover** is a
//! claim over an expired lease.
//!
//! # Features
//!
//! - `metrics`: counts events with the `metrics` facade, as `idempotency_events_total`, and the records
//!   that purgers remove, as `idempotency_purged_records_total`.
//! - `uuid`: keys that are `uuid::Uuid`.

#[doc(hidden)]
pub mod __private;
mod clock;
mod codec;
mod completer;
mod engine;
mod error;
mod fingerprint;
#[cfg(shuttle)]
#[cfg(test)]
mod interleavings;
mod key;
mod lease;
mod memory;
mod outbox;
mod outcome;
pub mod protocol;
mod purger;
mod record;
mod store;
mod sync;
mod task;

pub use self::clock::{Clock, Timestamp};
pub use self::codec::{Codec, CodecId, Json};
pub use self::completer::{Completer, Pass};
pub use self::engine::{
    Attempt, CleanErrors, CountErrors, Determinism, Engine, EngineBuilder, ErrorPolicy, Event,
    EventKind, Lent, NoKey, Observer, OnAbandoned, OnCancel, OnConflict, OnError, OnPanic,
    OnStoreFailure, OnUnrecorded, Operation, RecordErrors, RerunErrors, StepError, StepKey,
    StepMismatch, UnrecordedErrors, Verdict,
};
pub use self::error::{BoxError, Error, StoreError, UnrecordedValue};
pub use self::fingerprint::{
    Fingerprint, FingerprintArg, FingerprintBuilder, FingerprintError, ParseFingerprintError,
};
pub use self::key::{FixedKey, IntoKey, Key, KeyError, KeyPart, KeyTemplate, KeyText, KeyValue};
pub use self::lease::{Fence, Owner, ParseOwnerError};
pub use self::memory::{MemoryStore, OnFull};
pub use self::outbox::{Message, Outbox, Relay, Relayed, Taken};
pub use self::outcome::{OperationError, Outcome, Provenance, Recordable, Reply};
pub use self::purger::Purger;
pub use self::record::{Ending, Payload, Record, State, Step};
pub use self::store::{
    CommitError, Deletion, DynStore, Entry, Inspect, InspectExt, Page, Purged, Query, RecordsIn,
    Resolution, ResolveError, Statistics, Store, TransactionalStore, Watch, Watchers,
};
pub use self::task::TaskHandle;
