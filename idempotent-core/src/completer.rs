use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use crate::clock::Timestamp;
use crate::engine::{Engine, Entry as Kept, EventKind, Jitter, caught, input_name};
use crate::error::{BoxError, StoreError};
use crate::key::Key;
use crate::lease::Owner;
use crate::protocol::{Claim, ClaimRequest, Release, ReleaseMode};
use crate::record::{Ending, Payload, Record, State};
use crate::store::{Entry, Inspect, Page, Query, Store};
use crate::sync::time::sleep;
use crate::task::{TaskHandle, doubling};

const BACKOFF: Duration = Duration::from_secs(60);
const BATCH: usize = 100;
const CONCURRENCY: usize = 8;
const GRACE: Duration = Duration::from_secs(5 * 60);
const INTERVAL: Duration = Duration::from_secs(60);
const LONGEST_BACKOFF: Duration = Duration::from_secs(60 * 60);
const MAX_ATTEMPTS: u32 = 20;

/// For how long a record is claimed in order to park it.
const PARKING: Duration = Duration::from_secs(10);

/// Finishes operations that were begun, and that nobody has called again.
///
/// A client that dies in the middle of an operation may never retry it. A completer looks for operations
/// that keep their arguments (`completer = true` in the attribute, [`Operation::input`](crate::Operation::input)), and calls them
/// again with those: with the same key, through the same engine, on the same path as a client's retry. So
/// an operation with [steps](crate::Attempt::step) goes on from its last recovery point.
///
/// # What is guaranteed
///
/// - A completer never runs beside a live attempt, of a client or of another completer: it claims as
///   everybody does. Any number of completers may run at once, in any number of processes.
/// - An operation that fails does not stop the others.
/// - An operation that does not finish by its [last attempt](Self::max_attempts) is
///   [parked](crate::Error::Parked), which is an event, [`EventKind::Parked`].
///
/// # What is not
///
/// - When an operation is finished. The first try comes once its attempt is [so old](Self::grace) and its
///   lease is over, each next one after a pause that doubles, from [`backoff`](Self::backoff) to an hour.
/// - That an operation can be finished whose arguments were not recorded yet: it has not begun.
///
/// # Stores
///
/// SQLite and PostgreSQL find unfinished operations by themselves. Redis looks at all of its keys, and the
/// memory store at all of its records, on each pass.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use idempotent_core::{Completer, Engine, Error, MemoryStore, Reply};
///
/// # async fn charge(order: &str) -> Result<u32, Error> { Ok(500) }
/// async fn pay(engine: Engine, order: String) -> Result<u32, Error> {
///     let payment = engine.operation("orders.pay").key(&order).input(&order);
///     payment.run_with(async |run| run.step("charge", |_| charge(&order)).await).await
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// let store = MemoryStore::new();
/// let engine = Engine::new(store.clone());
/// let completer = Completer::new(engine.clone(), store)
///     .register("orders.pay", move |order: String| pay(engine.clone(), order))
///     .grace(Duration::from_secs(60))
///     .spawn();
/// // ... serve, then:
/// completer.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a completer does nothing until it is spawned or run"]
pub struct Completer<S> {
    engine: Engine,
    store: S,
    handlers: HashMap<String, Handler>,
    backoff: Duration,
    batch: usize,
    concurrency: usize,
    grace: Duration,
    interval: Duration,
    max_attempts: u32,
}

/// Calls an operation with its recorded arguments.
type Handler = Arc<dyn Fn(&Engine, &Payload) -> Result<Called, BoxError> + Send + Sync>;
type Called = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a completer has found, and done.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Pass {
    /// How many operations have finished, with a result or with a recorded error.
    pub finished: usize,
    /// How many were called, and have not finished.
    pub failed: usize,
    /// How many were parked.
    pub parked: usize,
    /// How many are not due yet, or are running.
    pub waiting: usize,
    /// The scopes of operations that nobody has registered here.
    pub unknown: BTreeSet<String>,
}

/// What is to be done about a record.
enum Next {
    Act(Act),
    Unknown,
    Wait,
}

/// What takes a task of its own.
enum Act {
    Call(Handler, Payload),
    Park,
}

/// What came of it.
#[derive(Clone, Copy)]
enum Done {
    Failed,
    Finished,
    Parked,
    /// Another attempt has begun meanwhile.
    Waiting,
}

impl<S: Inspect + Store> Completer<S> {
    /// A completer of the operations of `engine`, whose records are in `store`, with every default.
    pub fn new(engine: Engine, store: S) -> Self {
        Self {
            engine,
            store,
            handlers: HashMap::new(),
            backoff: BACKOFF,
            batch: BATCH,
            concurrency: CONCURRENCY,
            grace: GRACE,
            interval: INTERVAL,
            max_attempts: MAX_ATTEMPTS,
        }
    }

    /// Registers the operation of this `scope`. `operation` is given the recorded arguments, as a tuple
    /// where the attribute has recorded them, and must call the operation with the same key and arguments.
    ///
    /// # Examples
    ///
    /// ```
    /// # use idempotent_core::{Completer, Engine, Error, MemoryStore};
    /// # async fn create_ride(user: u64, ride: String) -> Result<(), Error> { Ok(()) }
    /// # fn completer(completer: Completer<MemoryStore>) {
    /// // #[idempotent(key = .., scope = "rides.create", completer = true)]
    /// // async fn create_ride(user: u64, ride: String) -> ..
    /// let completer = completer.register("rides.create", |(user, ride)| create_ride(user, ride));
    /// # drop(completer);
    /// # }
    /// ```
    pub fn register<I, F, T, E>(
        mut self,
        scope: impl Into<String>,
        operation: impl Fn(I) -> F + Send + Sync + 'static,
    ) -> Self
    where
        I: DeserializeOwned,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |engine, payload| {
            let called = operation(engine.decode(payload)?);
            // What became of it is in its record.
            Ok(Box::pin(async move { drop(called.await) }))
        });
        self.handlers.insert(scope.into(), handler);
        self
    }

    /// How old an attempt must be, from its claim, before a completer takes its operation on: 5 min. Until
    /// then a client may well retry.
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long after the first attempt the second one comes, if [`grace`](Self::grace) allows: 60 s. The
    /// pause doubles with each attempt, up to an hour.
    pub const fn backoff(mut self, backoff: Duration) -> Self {
        self.backoff = backoff;
        self
    }

    /// How many attempts an operation gets, those of clients among them, before it is parked: 20.
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// How many operations run at the same time: 8, and never less than one.
    pub const fn concurrency(mut self, operations: usize) -> Self {
        self.concurrency = operations;
        self
    }

    /// How many records are read at once: 100, and never less than one.
    pub const fn batch(mut self, records: usize) -> Self {
        self.batch = records;
        self
    }

    /// How long after a pass the next one comes at the latest: 60 s. At the earliest it is half of that.
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Looks at all records once, and calls what is due.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]. What was called is finished all the same.
    ///
    /// # Cancel safety
    ///
    /// If this is dropped, so are the operations that it has called: see
    /// [`Operation::run`](crate::Operation::run).
    pub async fn pass(&self) -> Result<Pass, StoreError> {
        let mut pass = Pass::default();
        let mut calls = JoinSet::new();
        let all = Query::all().with_steps().older_than(self.grace);
        let mut query = Some(all.with_limit(self.batch.max(1)));
        while let Some(asked) = query.take() {
            let page = self.store.list(&asked).await?;
            self.call(&page, &mut calls, &mut pass).await;
            query = asked.next(&page);
        }
        while let Some(done) = calls.join_next().await {
            pass.count(done.unwrap_or(Done::Failed));
        }
        Ok(pass)
    }

    /// Looks and calls until it is dropped.
    ///
    /// # Cancel safety
    ///
    /// It has no other end. See [`pass`](Self::pass).
    pub async fn run(self) -> Infallible {
        let jitter = Jitter::random();
        loop {
            sleep(jitter.apply(self.interval)).await;
            if let Err(error) = self.pass().await {
                self.engine.emit(EventKind::StoreError, "", None, &error);
            }
        }
    }

    /// Looks and calls in a task of its own, until the handle is dropped or [stopped](TaskHandle::stop).
    ///
    /// # Panics
    ///
    /// If it is called outside of a tokio runtime.
    pub fn spawn(self) -> TaskHandle {
        TaskHandle::spawn(self.run())
    }

    /// Does what is to be done about the records of `page`, a few at a time.
    async fn call(&self, page: &Page, calls: &mut JoinSet<Done>, pass: &mut Pass) {
        for entry in &page.entries {
            let act = match self.next(entry, page.now) {
                Next::Act(act) => act,
                Next::Unknown => {
                    pass.unknown.insert(entry.key.scope().into_owned());
                    continue;
                }
                Next::Wait => {
                    pass.waiting += 1;
                    continue;
                }
            };
            while calls.len() >= self.concurrency.max(1)
                && let Some(done) = calls.join_next().await
            {
                pass.count(done.unwrap_or(Done::Failed));
            }
            let (completer, entry) = (self.clone(), entry.clone());
            calls.spawn(async move { completer.act(&entry, act).await });
        }
    }

    fn next(&self, entry: &Entry, now: Timestamp) -> Next {
        let Entry { key, record } = entry;
        let is_over = match record.state {
            State::InProgress => !record.is_held(now),
            State::Released => true,
            _ => false,
        };
        let Some(input) = input_of(record).filter(|_| is_over) else {
            return Next::Wait;
        };
        let Some(handler) = self.handlers.get(&*key.scope()) else {
            return Next::Unknown;
        };
        if record.attempt >= self.max_attempts {
            return Next::Act(Act::Park);
        }
        let pause = doubling(self.backoff, LONGEST_BACKOFF, record.attempt);
        if now.since(record.fence.granted_at()) < pause {
            return Next::Wait;
        }
        Next::Act(Act::Call(Arc::clone(handler), input))
    }

    async fn act(&self, entry: &Entry, act: Act) -> Done {
        match act {
            Act::Call(handler, input) => self.finish(entry, &handler, &input).await,
            Act::Park => self.park(entry).await.unwrap_or(Done::Failed),
        }
    }

    async fn finish(&self, entry: &Entry, handler: &Handler, input: &Payload) -> Done {
        let (key, attempt) = (&entry.key, entry.record.attempt);
        self.emit(EventKind::Resumed, key, &format!("after attempt {attempt}"));
        match handler(&self.engine, input) {
            // A panic is in the record, as is whatever else became of it.
            Ok(called) => _ = caught(called).await,
            Err(error) => {
                let detail = format!("its arguments cannot be read: {error}");
                self.emit(EventKind::Diverged, key, &detail);
            }
        }
        match self.store.get(key).await {
            Ok(Some(record)) if !record.state.is_finished() => Done::Failed,
            Ok(_) => Done::Finished,
            Err(_) => Done::Failed,
        }
    }

    /// Leaves the record to somebody who looks at it, unless another attempt has begun.
    async fn park(&self, entry: &Entry) -> Result<Done, BoxError> {
        let Entry { key, record } = entry;
        let owner = Owner::random()?;
        let request = ClaimRequest::new(owner, record.fingerprint, PARKING, record.keep);
        let Claim::Granted(grant) = self.store.claim(key, &request).await? else {
            return Ok(Done::Waiting);
        };
        let release = Release::new(Ending::Stuck, ReleaseMode::Hold);
        self.store.release(key, &grant.holder(), release).await?;
        let detail = format!("after attempt {}", record.attempt);
        self.emit(EventKind::Parked, key, &detail);
        Ok(Done::Parked)
    }

    fn emit(&self, kind: EventKind, key: &Key, detail: &str) {
        self.engine.emit(kind, &key.scope(), Some(key), &detail);
    }
}

impl Pass {
    const fn count(&mut self, done: Done) {
        let counter = match done {
            Done::Failed => &mut self.failed,
            Done::Finished => &mut self.finished,
            Done::Parked => &mut self.parked,
            Done::Waiting => &mut self.waiting,
        };
        *counter += 1;
    }
}

/// The arguments of the call that `record` is of, if it keeps them.
fn input_of(record: &Record) -> Option<Payload> {
    let name = input_name(record.fingerprint);
    let input = record.steps.iter().find(|step| step.name == name)?;
    Some(Kept::read(&input.value).ok()?.payload)
}

impl<S: fmt::Debug> fmt::Debug for Completer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completer")
            .field("store", &self.store)
            .field("scopes", &self.handlers.keys())
            .finish_non_exhaustive()
    }
}
