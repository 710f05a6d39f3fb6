//! Claim, run, record, or replay.
//!
//! A call goes one way: [`Operation`] collects what the caller wants, `claim` asks the store,
//! `Running` runs the body under its lease, and `settle` records how it ended.

mod attempt;
mod caught;
mod claim;
mod detach;
mod error_policy;
mod events;
pub(crate) mod flight;
mod jitter;
mod near_cache;
mod operation;
mod policy;
mod running;
mod settle;
mod site;
mod steps;
mod transaction;

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::de::DeserializeOwned;

pub use self::attempt::Attempt;
pub use self::caught::caught;
use self::detach::Background;
pub use self::error_policy::{
    AllCodecs, CleanErrors, CountErrors, ErrorPolicy, RecordErrors, RerunErrors, UnrecordedErrors,
};
pub(crate) use self::events::Events;
pub use self::events::{Event, EventKind, Observer};
use self::flight::Flights;
pub(crate) use self::jitter::Jitter;
use self::near_cache::NearCache;
pub use self::operation::{DURATIONS, NoKey, Operation, Start};
use self::policy::Policy;
pub use self::policy::{
    OnAbandoned, OnCancel, OnConflict, OnError, OnPanic, OnStoreFailure, OnUnrecorded, Verdict,
};
pub use self::running::Running;
pub use self::site::Site;
use self::steps::Limits;
pub use self::steps::{Determinism, StepError, StepKey, StepMismatch};
pub(crate) use self::steps::{Entry, input_name};
pub use self::transaction::{Begun, InTransaction, Lent, Seat};
use crate::codec::{Codec, Codecs, DecodeError};
use crate::error::Error;
use crate::key::Key;
use crate::lease::Owner;
use crate::record::Payload;
use crate::store::{DynStore, Store};

static INSTALLED: OnceLock<Engine> = OnceLock::new();

/// Makes operations safe to retry, with a store to remember them.
///
/// # Clone
///
/// A clone is a handle to the same engine, and costs one reference count.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use idempotent_core::{Engine, Error, MemoryStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// let engine = Engine::builder(MemoryStore::new()).ttl(Duration::from_secs(60 * 60)).build();
///
/// let answer = engine
///     .operation("answers.compute")
///     .key(("deep thought", 42))
///     .run(async { Ok::<u64, Error>(6 * 7) })
///     .await?;
/// assert_eq!(answer, 42);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Engine {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    background: Background,
    codecs: Codecs,
    events: Events,
    flights: Arc<Flights>,
    jitter: Jitter,
    max_resumes: u32,
    mode: Mode,
    near_cache: Option<NearCache>,
    policy: Policy,
    record_patience: Duration,
    step_limits: Limits,
    store: Arc<dyn DynStore>,
    version: Box<str>,
}

/// Whether the engine protects at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    Disabled,
    Enabled,
    Shadow,
}

impl Engine {
    /// An engine over `store`, with every default.
    #[must_use]
    pub fn new(store: impl Store) -> Self {
        Self::builder(store).build()
    }

    /// An engine over `store`, with defaults of your own.
    pub fn builder(store: impl Store) -> EngineBuilder {
        EngineBuilder {
            codecs: Codecs::default(),
            jitter: None,
            max_resumes: 100,
            mode: Mode::Enabled,
            near_cache: None,
            observer: None,
            policy: Policy::default(),
            record_patience: Duration::from_secs(10),
            shows_keys: false,
            step_limits: Limits {
                steps: 1_000,
                step_size: 256 * 1024,
                history: 4 * 1024 * 1024,
            },
            store: Arc::new(store),
            version: Box::default(),
        }
    }

    /// Begins to describe one call of the operation that `scope` names.
    ///
    /// Two operations with one scope would replay each other's results: give each its own, and keep
    /// it when the code moves.
    pub fn operation(&self, scope: impl Into<Cow<'static, str>>) -> Operation<NoKey> {
        Operation::new(Some(self.clone()), scope.into(), None)
    }

    /// Waits until nothing of this engine goes on in the background: no
    /// [detached](Operation::run_detached) operation, no result that is recorded late, no message to the
    /// store about a call that was dropped.
    ///
    /// For the end of a program: what its runtime kills is neither recorded nor released, and its key
    /// stays claimed until the lease is over. Stop the callers first, and bound the wait:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use idempotent_core::{Engine, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let engine = Engine::new(MemoryStore::new());
    /// // ... serve until told to stop, then:
    /// let patience = Duration::from_secs(30);
    /// let drained = tokio::time::timeout(patience, engine.drained()).await;
    /// assert!(drained.is_ok());
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only waits.
    pub async fn drained(&self) {
        self.shared.background.none().await;
    }

    pub(crate) fn emit(
        &self,
        kind: EventKind,
        scope: &str,
        key: Option<&Key>,
        detail: &dyn std::fmt::Display,
    ) {
        self.shared.events.emit(kind, scope, key, detail);
    }

    pub(crate) fn decode<T: DeserializeOwned>(&self, payload: &Payload) -> Result<T, Error> {
        let Payload { codec, bytes } = payload;
        let decoded = self.shared.codecs.decode(*codec, bytes);
        decoded.map_err(DecodeError::into_error)
    }

    /// What stands for `key` in this engine's events.
    #[doc(hidden)]
    #[must_use]
    pub fn name_of(&self, key: &Key) -> String {
        self.shared.events.name(key)
    }

    /// Makes this the engine of all operations that name none. Only an application may do this, at
    /// its start; a library takes an engine from its caller.
    ///
    /// # Errors
    ///
    /// Gives the engine back if there is an installed one already.
    pub fn install(self) -> Result<(), Self> {
        INSTALLED.set(self)
    }

    /// The engine that the application has installed.
    #[must_use]
    pub fn installed() -> Option<Self> {
        INSTALLED.get().cloned()
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("store", &self.store.name())
            .field("mode", &self.mode)
            .field("policy", &self.policy)
            .field("events", &self.events)
            .field("near_cache", &self.near_cache)
            .finish_non_exhaustive()
    }
}

/// The defaults of an [`Engine`]. An operation may choose otherwise.
#[must_use]
pub struct EngineBuilder {
    codecs: Codecs,
    jitter: Option<Jitter>,
    max_resumes: u32,
    mode: Mode,
    near_cache: Option<usize>,
    observer: Option<Arc<dyn Observer>>,
    policy: Policy,
    record_patience: Duration,
    shows_keys: bool,
    step_limits: Limits,
    store: Arc<dyn DynStore>,
    version: Box<str>,
}

impl EngineBuilder {
    /// How long a finished record is kept, from its completion: 24 h.
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.policy.ttl = ttl;
        self
    }

    /// How long a claim holds without being renewed: 30 s. It is renewed every third of that while
    /// the operation runs.
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.policy.lease = lease;
        self
    }

    /// How long a record is kept that is not finished, from the end of its lease or from its release: the
    /// ttl, and an hour at least.
    pub const fn keep(mut self, keep: Duration) -> Self {
        self.policy.keep = keep;
        self
    }

    /// How the steps of a run are matched with those that are recorded: by name and place.
    pub const fn determinism(mut self, determinism: Determinism) -> Self {
        self.policy.determinism = determinism;
        self
    }

    /// How many steps an operation may have: 1 000.
    pub const fn max_steps(mut self, steps: usize) -> Self {
        self.step_limits.steps = steps;
        self
    }

    /// The largest encoded value of a step, in bytes: 256 KiB.
    pub const fn max_step_size(mut self, bytes: usize) -> Self {
        self.step_limits.step_size = bytes;
        self
    }

    /// How large the values of all steps of an operation may be before another one runs, in bytes: 4 MiB.
    pub const fn max_history(mut self, bytes: usize) -> Self {
        self.step_limits.history = bytes;
        self
    }

    /// From which attempt on an operation whose steps have changed is [parked](crate::Error::Parked), where
    /// until then another version of the program may take it on: 100.
    pub const fn max_resumes(mut self, attempts: u32) -> Self {
        self.max_resumes = attempts;
        self
    }

    /// The version of the program, which is recorded with each step, and shown if steps have changed:
    /// `env!("CARGO_PKG_VERSION")`, say. Without, it is not known.
    pub fn version(mut self, version: &str) -> Self {
        self.version = version.replace(char::is_control, " ").into();
        self
    }

    /// What a call does while another attempt is in progress: it waits for 30 s.
    pub const fn on_conflict(mut self, on_conflict: OnConflict) -> Self {
        self.policy.on_conflict = on_conflict;
        self
    }

    /// What becomes of an attempt that falls silent: the next caller runs again.
    pub const fn on_abandoned(mut self, on_abandoned: OnAbandoned) -> Self {
        self.policy.on_abandoned = on_abandoned;
        self
    }

    /// What a call does when the store fails before the operation has run: it fails, too.
    pub const fn on_store_failure(mut self, on_store_failure: OnStoreFailure) -> Self {
        self.policy.on_store_failure = on_store_failure;
        self
    }

    /// What a call returns when its result could not be recorded: an error that carries it.
    pub const fn on_unrecorded(mut self, on_unrecorded: OnUnrecorded) -> Self {
        self.policy.on_unrecorded = on_unrecorded;
        self
    }

    /// What results are encoded with: JSON. Records of other codecs can still be read, if they are
    /// JSON or named by [`also_read`](Self::also_read).
    pub fn codec(mut self, codec: impl Codec) -> Self {
        self.codecs.write_with(Arc::new(codec));
        self
    }

    /// A codec of older records.
    pub fn also_read(mut self, codec: impl Codec) -> Self {
        self.codecs.also_read(Arc::new(codec));
        self
    }

    /// The largest encoded result that is kept, in bytes: 1 MiB. The value of an operation with a
    /// larger one is returned, and later calls get
    /// [`Error::ResultUnavailable`].
    pub const fn max_result(mut self, bytes: usize) -> Self {
        self.policy.max_result = bytes;
        self
    }

    /// For how long a caller waits for a result to be recorded while the store fails: 10 s. After
    /// that it is recorded in the background.
    pub const fn record_patience(mut self, patience: Duration) -> Self {
        self.record_patience = patience;
        self
    }

    /// Keeps up to `records` finished records in this process, for replays without a round trip:
    /// none. What an operator deletes or resolves in the store stays here until its ttl ends.
    pub const fn near_cache(mut self, records: usize) -> Self {
        self.near_cache = Some(records);
        self
    }

    /// Whether to protect at all. Without, every operation just runs, with an event that warns of it.
    pub const fn enabled(mut self, enabled: bool) -> Self {
        self.mode = if enabled {
            Mode::Enabled
        } else {
            Mode::Disabled
        };
        self
    }

    /// Records results, and runs the operation all the same where one would have been replayed,
    /// with an event: for a careful roll-out.
    pub const fn shadow(mut self) -> Self {
        self.mode = Mode::Shadow;
        self
    }

    /// Who hears of every event.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Shows keys in events, instead of a keyed hash. Keys may be personal data.
    pub const fn show_keys(mut self) -> Self {
        self.shows_keys = true;
        self
    }

    /// Draws the jitter of polls from `seed`, so that a simulation can be repeated: everything else
    /// that the engine draws at random is an owner, whose value nothing depends on.
    #[doc(hidden)]
    pub const fn jitter_seed(mut self, seed: u64) -> Self {
        self.jitter = Some(Jitter::new(seed));
        self
    }

    /// The engine.
    #[must_use]
    pub fn build(self) -> Engine {
        // Without randomness no call gets far; until then, names of keys are merely not secret.
        let secret = Owner::random().unwrap_or(Owner::from_bytes([0; 16]));
        Engine {
            shared: Arc::new(Shared {
                background: Background::new(),
                codecs: self.codecs,
                events: Events {
                    observer: self.observer,
                    secret: (!self.shows_keys).then_some(secret),
                },
                flights: Arc::default(),
                jitter: self.jitter.unwrap_or_else(Jitter::random),
                max_resumes: self.max_resumes,
                mode: self.mode,
                near_cache: self.near_cache.map(NearCache::new),
                policy: self.policy,
                record_patience: self.record_patience,
                step_limits: self.step_limits,
                store: self.store,
                version: self.version,
            }),
        }
    }
}

impl std::fmt::Debug for EngineBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineBuilder")
            .field("store", &self.store.name())
            .field("mode", &self.mode)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
