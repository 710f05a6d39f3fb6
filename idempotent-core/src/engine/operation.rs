use std::borrow::Cow;
use std::fmt;
use std::future::{Future, Ready};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::claim::{Call, Claimed};
use super::error_policy::{
    CleanErrors, CountErrors, ErrorPolicy, RecordErrors, RerunErrors, UnrecordedErrors,
};
use super::policy::Policy;
use super::running::Running;
use super::{
    Attempt, Determinism, Engine, EventKind, Mode, OnAbandoned, OnCancel, OnConflict, OnError,
    OnPanic, OnStoreFailure, OnUnrecorded, Site, StepError, Verdict,
};
use crate::error::{BoxError, Error};
use crate::fingerprint::{Fingerprint, FingerprintBuilder, FingerprintError};
use crate::key::{IntoKey, Key, KeyError};
use crate::outcome::{Recordable, Reply};
use crate::protocol::Failures;
use crate::record::{Ending, Payload};

/// The fingerprint of a call whose arguments are not compared.
const NO_FINGERPRINT: Fingerprint = Fingerprint::from_bytes([0; 32]);

/// One call of an operation, before it begins.
///
/// Made by [`Engine::operation`]; [`key`](Operation::key) comes first. `P` says what becomes of the
/// operation's errors.
#[must_use = "an operation does nothing until it is run"]
pub struct Operation<P = UnrecordedErrors> {
    engine: Option<Engine>,
    errors: P,
    fingerprint: Result<Fingerprint, FingerprintError>,
    input: Option<Result<Payload, BoxError>>,
    key: Result<Option<Key>, KeyError>,
    policy: Policy,
    scope: Cow<'static, str>,
    site: Option<&'static Site>,
}

/// The operation has no key yet, and cannot be run.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct NoKey;

impl Operation<NoKey> {
    pub(crate) fn new(
        engine: Option<Engine>,
        scope: Cow<'static, str>,
        site: Option<&'static Site>,
    ) -> Self {
        let policy = engine
            .as_ref()
            .map(|engine| engine.shared.policy)
            .unwrap_or_default();
        Self {
            engine,
            errors: NoKey,
            fingerprint: Ok(NO_FINGERPRINT),
            input: None,
            key: Ok(None),
            policy,
            scope,
            site,
        }
    }

    /// Sets the key: what makes two calls the same, such as an order's number.
    ///
    /// A key of `None` runs the operation unprotected, with an event that says so. A key that cannot
    /// be used is an error when the operation is run.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a literal reads better than its reference"
    )]
    pub fn key(self, key: impl IntoKey) -> Operation {
        self.key_ref(&key)
    }

    /// Like [`key`](Self::key), for a key that belongs to somebody else.
    #[doc(hidden)]
    pub fn key_ref(self, key: &(impl IntoKey + ?Sized)) -> Operation {
        let key = Key::of(&self.scope, key);
        Operation {
            engine: self.engine,
            errors: UnrecordedErrors::default(),
            fingerprint: self.fingerprint,
            input: self.input,
            key,
            policy: self.policy,
            scope: self.scope,
            site: self.site,
        }
    }
}

impl<P> Operation<P> {
    /// How long a finished record is kept, from its completion.
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.policy.ttl = ttl;
        self
    }

    /// How long the claim holds without being renewed. It is renewed every third of that.
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.policy.lease = lease;
        self
    }

    /// The largest encoded result that is kept, in bytes.
    pub const fn max_result(mut self, bytes: usize) -> Self {
        self.policy.max_result = bytes;
        self
    }

    /// Sets what the call is compared by: a retry must have the same `arguments`. Without, only the
    /// key counts.
    pub fn fingerprint(mut self, arguments: &(impl Serialize + ?Sized)) -> Self {
        self.fingerprint = Fingerprint::of(arguments);
        self
    }

    /// Like [`fingerprint`](Self::fingerprint), from named arguments.
    pub fn fingerprint_args(
        mut self,
        arguments: impl FnOnce(FingerprintBuilder) -> FingerprintBuilder,
    ) -> Self {
        self.fingerprint = arguments(FingerprintBuilder::new()).finish();
        self
    }

    /// Keeps the call's `arguments` in its record, so that a [`Completer`](crate::Completer) can call the
    /// operation again if nobody else does. That takes another write to the store before the operation
    /// begins.
    pub fn input(mut self, arguments: &(impl Serialize + ?Sized)) -> Self {
        let codecs = self.engine.as_ref().map(|engine| &engine.shared.codecs);
        self.input = codecs.map(|codecs| {
            let (codec, bytes) = codecs.encode(&arguments)?;
            Ok(Payload { codec, bytes })
        });
        self
    }

    /// How the steps of a run are matched with those that are recorded.
    pub const fn determinism(mut self, determinism: Determinism) -> Self {
        self.policy.determinism = determinism;
        self
    }

    /// How long a record is kept that is not finished, from the end of its lease or from its release: the
    /// ttl, and an hour at least.
    pub const fn keep(mut self, keep: Duration) -> Self {
        self.policy.keep = keep;
        self
    }

    /// What the call does while another attempt is in progress.
    pub const fn on_conflict(mut self, on_conflict: OnConflict) -> Self {
        self.policy.on_conflict = on_conflict;
        self
    }

    /// What becomes of an attempt that falls silent.
    pub const fn on_abandoned(mut self, on_abandoned: OnAbandoned) -> Self {
        self.policy.on_abandoned = on_abandoned;
        self
    }

    /// What becomes of the operation if its caller goes away.
    /// [`run_detached`](Self::run_detached) is the third way.
    pub const fn on_cancel(mut self, on_cancel: OnCancel) -> Self {
        self.policy.on_cancel = on_cancel;
        self
    }

    /// What becomes of the record if the operation panics.
    pub const fn on_panic(mut self, on_panic: OnPanic) -> Self {
        self.policy.on_panic = on_panic;
        self
    }

    /// What the call does if the store fails before the operation has run.
    pub const fn on_store_failure(mut self, on_store_failure: OnStoreFailure) -> Self {
        self.policy.on_store_failure = on_store_failure;
        self
    }

    /// What the call returns if its result could not be recorded.
    pub const fn on_unrecorded(mut self, on_unrecorded: OnUnrecorded) -> Self {
        self.policy.on_unrecorded = on_unrecorded;
        self
    }

    /// Takes some errors for the word that the operation has done nothing: it found its arguments invalid,
    /// say. The attempt does not count, and if it was the first, the key may be used with other arguments.
    /// Such an error is never recorded.
    ///
    /// # Examples
    ///
    /// ```
    /// use idempotent_core::{Engine, Error, MemoryStore};
    ///
    /// #[derive(Debug, thiserror::Error)]
    /// enum OrderError {
    ///     #[error("an order needs an item")]
    ///     Empty,
    ///     #[error(transparent)]
    ///     Idempotency(#[from] Error),
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), OrderError> {
    /// let engine = Engine::new(MemoryStore::new());
    /// let order = async |items: u32| {
    ///     let operation = engine.operation("orders.create").key("k").fingerprint(&items);
    ///     let operation = operation.clean_if(|error| matches!(error, OrderError::Empty));
    ///     operation.run(async { if items == 0 { Err(OrderError::Empty) } else { Ok(items) } }).await
    /// };
    /// assert!(order(0).await.is_err());
    /// assert_eq!(order(3).await?, 3); // no mismatch: nothing was done for the first
    /// # Ok(())
    /// # }
    /// ```
    pub fn clean_if<E>(self, is_clean: fn(&E) -> bool) -> Operation<CleanErrors<P, E>> {
        self.map_errors(|policy| CleanErrors { policy, is_clean })
    }

    /// Runs the operation's [transaction](Self::run_in) again if its error is one of those by which a
    /// database gives a transaction up, such as a deadlock: up to five times. Has no effect on
    /// operations that run in none.
    pub fn rerun_if<E>(self, is_given_up: fn(&E) -> bool) -> Operation<RerunErrors<P, E>> {
        self.map_errors(|policy| RerunErrors {
            policy,
            is_given_up,
        })
    }

    /// Lets `count` say what each error that is not recorded does to the record's count of
    /// [failures](Attempt::failures). Without, each counts as one.
    pub fn count_failures<E>(self, count: fn(&E) -> Failures) -> Operation<CountErrors<P, E>> {
        self.map_errors(|policy| CountErrors { policy, count })
    }

    fn map_errors<Q>(self, errors: impl FnOnce(P) -> Q) -> Operation<Q> {
        Operation {
            engine: self.engine,
            errors: errors(self.errors),
            fingerprint: self.fingerprint,
            input: self.input,
            key: self.key,
            policy: self.policy,
            scope: self.scope,
            site: self.site,
        }
    }
}

impl Operation {
    /// Leaves the record in doubt if the operation returns an error.
    pub fn hold_errors(mut self) -> Self {
        self.errors.hold = true;
        self
    }

    /// Records the operation's errors, and replays them.
    pub fn record_errors<E>(self) -> Operation<RecordErrors<E>> {
        self.map_errors(|_| RecordErrors(|_| OnError::Record))
    }

    /// Lets `decide` say what becomes of each error.
    pub fn record_errors_if<E>(self, decide: fn(&E) -> OnError) -> Operation<RecordErrors<E>> {
        self.map_errors(|_| RecordErrors(decide))
    }
}

impl<P> Operation<P> {
    /// Runs `body`, unless there is a recorded result; returns the result.
    ///
    /// # Errors
    ///
    /// Those of `body`, and every [`Error`].
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe, but safe: if this is dropped before `body` began, nothing has happened. If
    /// it is dropped while `body` runs, the record is left as [`OnCancel`] says. If it is dropped
    /// after that, the result is still recorded.
    pub async fn run<R: Reply>(self, body: impl Future<Output = R>) -> R
    where
        P: ErrorPolicy<R::Error>,
    {
        match self.begin().await {
            Start::Return(reply) => reply,
            Start::Run(running) => running.finish(body).await,
        }
    }

    /// Like [`run`](Self::run), for a body that wants to know of its attempt.
    ///
    /// # Errors
    ///
    /// Those of `body`, and every [`Error`].
    ///
    /// # Cancel safety
    ///
    /// As for [`run`](Self::run).
    pub async fn run_with<R: Reply, F>(self, body: impl FnOnce(Attempt) -> F) -> R
    where
        F: Future<Output = R>,
        P: ErrorPolicy<R::Error>,
    {
        match self.begin().await {
            Start::Return(reply) => reply,
            Start::Run(running) => {
                let attempt = running.attempt();
                running.finish(body(attempt)).await
            }
        }
    }

    /// Like [`run`](Self::run), in a task of its own: `body` goes on and is recorded if the caller
    /// goes away.
    ///
    /// # Errors
    ///
    /// Those of `body`, and every [`Error`].
    ///
    /// # Cancel safety
    ///
    /// If this is dropped before `body` began, nothing has happened; after that, nothing changes.
    pub async fn run_detached<R>(self, body: impl Future<Output = R> + Send + 'static) -> R
    where
        R: Reply + Send + 'static,
        R::Error: Send,
        R::Value: Send,
        P: ErrorPolicy<R::Error> + Send + 'static,
    {
        match self.begin().await {
            Start::Return(reply) => reply,
            Start::Run(running) => running.finish_detached(body).await,
        }
    }

    /// Like [`run`](Self::run), and asks `verify` about an attempt that fell silent, before anything
    /// runs again. Sets [`OnAbandoned::InDoubt`].
    ///
    /// # Errors
    ///
    /// Those of `body`, and every [`Error`].
    ///
    /// # Cancel safety
    ///
    /// As for [`run`](Self::run). While `verify` runs, the record is in doubt and stays so.
    pub async fn run_verified<R: Reply, V, F>(self, verify: V, body: impl Future<Output = R>) -> R
    where
        V: FnMut() -> F,
        F: Future<Output = Verdict<<R::Value as Recordable>::Stored>>,
        P: ErrorPolicy<R::Error>,
    {
        match self.begin_verified(verify).await {
            Start::Return(reply) => reply,
            Start::Run(running) => running.finish(body).await,
        }
    }

    /// The first half of [`run`](Self::run).
    #[doc(hidden)]
    pub async fn begin<R: Reply>(self) -> Start<R, P>
    where
        P: ErrorPolicy<R::Error>,
    {
        type Never<R> = Ready<Verdict<<<R as Reply>::Value as Recordable>::Stored>>;
        self.start(None::<fn() -> Never<R>>).await
    }

    /// The first half of [`run_verified`](Self::run_verified).
    #[doc(hidden)]
    pub async fn begin_verified<R: Reply, V, F>(mut self, verify: V) -> Start<R, P>
    where
        V: FnMut() -> F,
        F: Future<Output = Verdict<<R::Value as Recordable>::Stored>>,
        P: ErrorPolicy<R::Error>,
    {
        self.policy.on_abandoned = OnAbandoned::InDoubt;
        self.start(Some(verify)).await
    }

    async fn start<R: Reply, V, F>(self, mut verify: Option<V>) -> Start<R, P>
    where
        V: FnMut() -> F,
        F: Future<Output = Verdict<<R::Value as Recordable>::Stored>>,
        P: ErrorPolicy<R::Error>,
    {
        let (call, errors) = match self.prepare() {
            Ok((Some(call), errors)) => (call, errors),
            Ok((None, errors)) => return Start::Run(Running::unprotected(None, errors)),
            Err(error) => return Start::Return(R::from_result(Err(error.into()))),
        };
        let is_shadow = call.engine.shared.mode == Mode::Shadow;
        loop {
            let error = match call.claim().await {
                Ok(Claimed::Granted(held)) => match held.with_input().await {
                    Ok(Some(held)) => return Start::Run(Running::new(held, errors)),
                    // Another attempt has taken over.
                    Ok(None) => continue,
                    Err(error) => error,
                },
                Ok(Claimed::Done(_)) if is_shadow => {
                    call.emit(EventKind::WouldReplay, &"");
                    return Start::Run(Running::unprotected(Some(call), errors));
                }
                Ok(Claimed::Done(recorded)) => {
                    return Start::Return(call.replay(&recorded, &errors));
                }
                Ok(Claimed::InDoubt(doubt)) if doubt.ending == Ending::Stuck => Error::Parked,
                Ok(Claimed::InDoubt(doubt)) => match &mut verify {
                    None => Error::InDoubt,
                    Some(verify) => {
                        let verdict = match verify().await {
                            Verdict::Done(value) => Verdict::Done(call.encode(&value)),
                            Verdict::NotExecuted => Verdict::NotExecuted,
                            Verdict::Unknown => Verdict::Unknown,
                        };
                        match call.resolve(doubt, verdict).await {
                            Ok(()) => continue,
                            Err(error) => error,
                        }
                    }
                },
                Err(error) => error,
            };
            return Start::without(call, errors, error);
        }
    }

    /// What there is to call, or `None` if it runs without protection.
    pub(crate) fn prepare(self) -> Result<(Option<Arc<Call>>, P), Error> {
        let engine = self.engine.ok_or(Error::NoEngine)?;
        if let Some(site) = self.site {
            site.check()?;
        }
        let events = &engine.shared.events;
        if engine.shared.mode == Mode::Disabled {
            events.emit(
                EventKind::Unprotected,
                &self.scope,
                None,
                &"the engine is disabled",
            );
            return Ok((None, self.errors));
        }
        let Some(key) = self.key? else {
            events.emit(
                EventKind::Unprotected,
                &self.scope,
                None,
                &"the call has no key",
            );
            return Ok((None, self.errors));
        };
        check("ttl", self.policy.ttl)?;
        check("lease", self.policy.lease)?;
        let fingerprint = self.fingerprint?;
        let input = self.input.transpose().map_err(|source| {
            let step = "the arguments".to_owned();
            StepError::Unencodable { step, source }
        })?;
        // Several futures need it, and moving it about would cost more than this.
        let call = Arc::new(Call {
            engine,
            scope: self.scope,
            key,
            fingerprint,
            policy: self.policy,
            input,
        });
        Ok((Some(call), self.errors))
    }
}

/// Stores count in milliseconds, and keep durations in twelve digits of them.
pub const DURATIONS: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(30 * 365 * 24 * 60 * 60);

fn check(what: &'static str, value: Duration) -> Result<(), Error> {
    if DURATIONS.contains(&value) {
        return Ok(());
    }
    Err(Error::InvalidDuration { what, value })
}

impl<P: fmt::Debug> fmt::Debug for Operation<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation")
            .field("scope", &self.scope)
            .field("policy", &self.policy)
            .field("errors", &self.errors)
            .finish_non_exhaustive()
    }
}

/// What a call has come to, before the operation's body.
#[derive(Debug)]
#[doc(hidden)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the attribute's expansion matches on it"
)]
pub enum Start<R, P = UnrecordedErrors> {
    /// A replay, or an error: return it.
    Return(R),
    /// The body is to run.
    Run(Running<R, P>),
}

impl<R: Reply, P: ErrorPolicy<R::Error>> Start<R, P> {
    /// What becomes of a call that could not be protected.
    pub(crate) fn without(call: Arc<Call>, errors: P, error: Error) -> Self {
        if call.runs_unprotected_after(&error) {
            call.emit(EventKind::Unprotected, &error);
            Self::Run(Running::unprotected(Some(call), errors))
        } else {
            Self::Return(R::from_result(Err(error.into())))
        }
    }
}
