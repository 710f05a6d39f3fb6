use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tracing::Instrument;

use super::attempt::Run;
use super::caught::{Panic, poll_caught};
use super::claim::Call;
use super::detach::ToTheEnd;
use super::error_policy::{AllCodecs, ErrorPolicy};
use super::settle::Settled;
use super::steps::Returned;
use super::{Attempt, EventKind, OnCancel, OnError, OnPanic, OnUnrecorded, Start};
use crate::error::{Error, StoreError, UnrecordedValue};
use crate::outcome::{Provenance, Recordable, Reply};
use crate::protocol::{Completion, Failures, Grant, Release, ReleaseMode, Update};
use crate::record::{Ending, Payload};
use crate::sync::time::{Instant, sleep_until, timeout_at};

type Renewal<'a> = Pin<Box<dyn Future<Output = Infallible> + Send + 'a>>;

/// An operation whose body is to run.
#[doc(hidden)]
pub struct Running<R, P> {
    held: Protection,
    errors: P,
    reply: PhantomData<fn() -> R>,
}

enum Protection {
    None(Option<Arc<Call>>),
    Held(Held),
}

impl Protection {
    fn begin(&mut self) {
        if let Self::Held(held) = self {
            held.stage = Stage::Runs;
        }
    }

    /// Runs `body`, and renews the lease for as long as it runs: no longer, and not without it.
    async fn drive<T>(&self, body: impl Future<Output = T>) -> Result<T, Panic> {
        let mut body = pin!(body);
        let mut renewal = None;
        poll_fn(|cx| match poll_caught(body.as_mut(), cx) {
            Poll::Ready(ended) => Poll::Ready(ended),
            Poll::Pending => {
                self.renew_meanwhile(&mut renewal, cx);
                Poll::Pending
            }
        })
        .await
    }

    fn renew_meanwhile<'a>(&'a self, renewal: &mut Option<Renewal<'a>>, cx: &mut Context<'_>) {
        if let Self::Held(held) = self {
            // A body that is ready at once needs no timer.
            let renewal = renewal.get_or_insert_with(|| Box::pin(held.keep_lease()));
            let Poll::Pending = renewal.as_mut().poll(cx);
        }
    }
}

impl<R: Reply, P: ErrorPolicy<R::Error>> Running<R, P> {
    pub(crate) fn new(held: Held, errors: P) -> Self {
        Self {
            held: Protection::Held(held),
            errors,
            reply: PhantomData,
        }
    }

    pub(crate) fn unprotected(call: Option<Arc<Call>>, errors: P) -> Self {
        Self {
            held: Protection::None(call),
            errors,
            reply: PhantomData,
        }
    }

    /// What the body may know of itself.
    #[must_use]
    pub fn attempt(&self) -> Attempt {
        match &self.held {
            Protection::Held(held) => held.attempt(),
            Protection::None(call) => Attempt::unprotected(call.clone()),
        }
    }

    /// Runs `body` under the lease, and records how it ended.
    pub async fn finish(mut self, body: impl Future<Output = R>) -> R {
        // This is compiled for each function, so it has nothing but what knows the body.
        self.held.begin();
        let ended = self.held.drive(body).await;
        self.end(ended).await
    }

    async fn end(self, ended: Result<R, Panic>) -> R {
        let Self { held, errors, .. } = self;
        let mut held = match held {
            Protection::Held(held) => held,
            Protection::None(_) => {
                let result = ended.unwrap_or_else(|panic| resume_unwind(panic));
                let result = result.into_result();
                return R::from_result(result.map(|value| value.told(Provenance::Unprotected)));
            }
        };
        held.stage = Stage::Settled;
        match ended {
            Ok(reply) => conclude(held, errors, reply).await,
            Err(panic) => {
                Box::pin(held.settle_panic()).await;
                resume_unwind(panic)
            }
        }
    }

    /// The same, if its lease still runs by the time that a task of its own has begun.
    async fn in_time(self) -> Start<R, P> {
        let (held, errors) = match self.held {
            Protection::Held(held) => (held, self.errors),
            Protection::None(_) => return Start::Run(self),
        };
        let call = Arc::clone(&held.call);
        let error = match held.in_time().await {
            Ok(Some(held)) => return Start::Run(Self::new(held, errors)),
            Ok(None) => call.conflict(Duration::ZERO),
            Err(error) => error,
        };
        Start::without(call, errors, error)
    }

    /// Like [`finish`](Self::finish), in a task of its own, which nobody's going away stops.
    pub async fn finish_detached(self, body: impl Future<Output = R> + Send + 'static) -> R
    where
        R: Send + 'static,
        R::Error: Send,
        R::Value: Send,
        P: Send + 'static,
    {
        let counts = match &self.held {
            Protection::Held(held) => Some(held.call.shared().background.task()),
            Protection::None(call) => call.as_ref().map(|call| call.shared().background.task()),
        };
        let begun = async move {
            let reply = match self.in_time().await {
                Start::Return(reply) => reply,
                Start::Run(running) => running.finish(body).await,
            };
            drop(counts);
            reply
        };
        let task = tokio::spawn(begun.in_current_span());
        match task.await {
            Ok(reply) => reply,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime shuts down, and this future with it.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// Records how an attempt has ended, and returns what counts.
///
/// Apart from the body, so that it is compiled once for each return type, and not for each function.
async fn conclude<R: Reply, P: ErrorPolicy<R::Error>>(held: Held, errors: P, reply: R) -> R {
    // Encoded before the next await, so that the future is `Send` though no reference may be.
    let value = match reply.into_result() {
        Ok(value) => value,
        Err(error) => {
            let end = held.judge_error(end_of(&held.call, &errors, &error));
            return conclude_error(held, errors, error, end).await;
        }
    };
    let payload = held.call.encode(value.stored());
    match held.judge(&payload) {
        Returned::Result => {}
        Returned::Finished { is_same: true } => {
            let (attempt, kept) = (held.grant.attempt, true);
            return R::from_result(Ok(value.told(Provenance::Executed { attempt, kept })));
        }
        // What is recorded is what counts.
        Returned::Finished { is_same: false } => {
            let lost = Error::LeaseLost {
                value: UnrecordedValue(payload),
            };
            return conclude_error(held, errors, lost.into(), ErrorEnd::Superseded).await;
        }
        Returned::Diverged(error) => {
            let end = held.stuck(&error);
            return conclude_error(held, errors, error.into(), end).await;
        }
    }
    let completion = Completion::value(payload.clone(), held.call.policy.ttl);
    let (held, settled) = held.complete(completion).await;
    let returns = R::Value::TELLS || held.call.policy.on_unrecorded == OnUnrecorded::Return;
    R::from_result(match settled {
        Settled::Recorded { kept } => {
            let attempt = held.grant.attempt;
            Ok(value.told(Provenance::Executed { attempt, kept }))
        }
        Settled::Superseded(recorded) => return held.call.replay(&recorded, &errors),
        Settled::LeaseLost => {
            let value = UnrecordedValue(payload);
            Err(Error::LeaseLost { value }.into())
        }
        Settled::Unrecorded(_) if returns => Ok(value.told(Provenance::Unrecorded)),
        Settled::Unrecorded(source) => {
            let store = held.call.shared().store.name();
            let value = UnrecordedValue(payload);
            Err(Error::Unrecorded {
                store,
                value,
                source,
            }
            .into())
        }
    })
}

/// Ends an attempt without a result of its own, and returns what counts.
async fn conclude_error<R: Reply, P: ErrorPolicy<R::Error>>(
    held: Held,
    errors: P,
    error: R::Error,
    end: ErrorEnd,
) -> R {
    match Box::pin(held.settle_error(end)).await {
        Some((call, recorded)) => call.replay(&recorded, &errors),
        None => R::from_result(Err(error)),
    }
}

/// What becomes of a record whose operation returned `error`.
pub(crate) fn end_of<E, P: ErrorPolicy<E>>(call: &Call, errors: &P, error: &E) -> ErrorEnd {
    match errors.decide(error) {
        _ if errors.is_clean(error) => ErrorEnd::Clean,
        OnError::Hold => ErrorEnd::Hold,
        OnError::Release => ErrorEnd::Release(errors.failures(error)),
        OnError::Record => match P::encode(&AllCodecs(&call.shared().codecs), error) {
            Ok(payload) => ErrorEnd::Record(payload),
            Err(reason) => {
                call.emit(EventKind::Unrecorded, &reason);
                ErrorEnd::Release(errors.failures(error))
            }
        },
    }
}

impl<R, P> fmt::Debug for Running<R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.held {
            Protection::Held(held) => f.debug_tuple("Running").field(&held.grant).finish(),
            Protection::None(_) => f.write_str("Running(unprotected)"),
        }
    }
}

/// What becomes of a record whose operation returned an error.
pub(crate) enum ErrorEnd {
    /// Nothing was done, so that the attempt does not count.
    Clean,
    Hold,
    Record(Payload),
    Release(Failures),
    /// It cannot go on. If it `parks`, somebody has to look at it first.
    Stuck {
        parks: bool,
    },
    /// Another attempt has taken over, and its result counts.
    Superseded,
}

/// A granted claim. Whatever happens to it, the store is told: by whoever settles it, or when it is
/// dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) call: Arc<Call>,
    pub(crate) grant: Arc<Grant>,
    pub(crate) run: Arc<Run>,
    /// When the lease was last asked for: it is counted from before the request was sent.
    leased: Instant,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Unrun,
    Runs,
    Settled,
}

impl Held {
    pub(crate) fn new(call: Arc<Call>, grant: Grant, asked: Instant) -> Self {
        if grant.attempt > 1 {
            call.emit(
                EventKind::Takeover,
                &format_args!("attempt {}", grant.attempt),
            );
        }
        let (grant, run) = (Arc::new(grant), Arc::default());
        Self {
            call,
            grant,
            run,
            leased: asked,
            stage: Stage::Unrun,
        }
    }

    fn attempt(&self) -> Attempt {
        let (grant, run) = (Arc::clone(&self.grant), Arc::clone(&self.run));
        Attempt::new(Arc::clone(&self.call), grant, run)
    }

    /// The same attempt under a lease that still runs, or `None` if another attempt has taken over.
    ///
    /// The answer to a claim may come later than the end of the lease that it grants, and a body that
    /// began then could meet another attempt's.
    pub(crate) async fn in_time(self) -> Result<Option<Self>, Error> {
        if self.leased.elapsed() < safe(self.call.policy.lease) {
            return Ok(Some(self));
        }
        Box::pin(self.renewed()).await
    }

    /// Renews the lease before the body has begun.
    async fn renewed(mut self) -> Result<Option<Self>, Error> {
        self.leased = Instant::now();
        let until = self.leased + safe(self.call.policy.lease);
        let update = match timeout_at(until, self.renew()).await {
            Ok(update) if Instant::now() < until => update,
            Ok(_) | Err(_) => {
                let why = "the store takes longer to answer than the lease lasts: use a longer one";
                Err(StoreError::Unavailable(why.into()))
            }
        };
        match update {
            Ok(Update::Applied | Update::Healed | Update::Repeated) => Ok(Some(self)),
            Ok(Update::Lost(_)) => {
                // Nothing has run, which settles the doubt that the record may be in.
                self.tell(Release::new(Ending::Clean, ReleaseMode::Free))
                    .await;
                self.stage = Stage::Settled;
                Ok(None)
            }
            Err(error) => {
                self.call.emit(EventKind::StoreError, &error);
                Err(self.call.store_error(error))
            }
        }
    }

    /// Renews the lease every third of it, until it is lost. Never returns.
    async fn keep_lease(&self) -> Infallible {
        let lease = self.call.policy.lease;
        let safe = safe(lease);
        let (mut next, mut until) = (self.leased + lease / 3, self.leased + safe);
        loop {
            sleep_until(next).await;
            let sent = Instant::now();
            match timeout_at(until.max(sent + lease / 3), self.renew()).await {
                Ok(Ok(Update::Lost(_))) => {
                    self.lose_lease("another attempt, or an operator, has taken over");
                    return std::future::pending().await;
                }
                Ok(Ok(Update::Applied | Update::Healed | Update::Repeated)) => {
                    (next, until) = (sent + lease / 3, sent + safe);
                }
                Ok(Err(error)) => {
                    self.call.emit(EventKind::StoreError, &error);
                    next = Instant::now() + (lease / 10).min(Duration::from_secs(1));
                }
                Err(_) => next = Instant::now(),
            }
            if Instant::now() >= until {
                // Still its owner's, if nobody has taken over; but that is not for sure.
                self.lose_lease("it could not be renewed in time");
            }
        }
    }

    fn renew(&self) -> impl Future<Output = Result<Update, StoreError>> + Send + use<> {
        let (call, grant) = (Arc::clone(&self.call), Arc::clone(&self.grant));
        ToTheEnd::new(&self.call, async move {
            call.shared()
                .store
                .renew(&call.key, &grant, call.policy.lease)
                .await
        })
    }

    fn lose_lease(&self, reason: &'static str) {
        if self.run.lease.lose() {
            self.call.emit(EventKind::LeaseLost, &reason);
        }
    }

    /// Notes the panic, or lets the next caller run.
    async fn settle_panic(self) {
        let mode = match self.call.policy.on_panic {
            OnPanic::Hold => ReleaseMode::Note,
            OnPanic::Release => ReleaseMode::Free,
        };
        self.tell(Release::new(Ending::Panicked, mode)).await;
    }

    /// Tells the store how the attempt ended, even if nobody waits for it.
    pub(crate) async fn tell(&self, release: Release) {
        ToTheEnd::new(&self.call, self.telling(release)).await;
    }

    fn telling(&self, release: Release) -> impl Future<Output = ()> + Send + use<> {
        let (call, holder) = (Arc::clone(&self.call), self.grant.holder());
        async move { call.tell(&holder, release).await }
    }
}

/// How long an owner may count on `lease`: its clock may run a little slower than the store's.
fn safe(lease: Duration) -> Duration {
    lease.saturating_sub(lease / 10)
}

/// Only signals: nothing depends on it but how soon others learn of it.
impl Drop for Held {
    fn drop(&mut self) {
        let release = match (self.stage, self.call.policy.on_cancel) {
            (Stage::Settled, _) => return,
            (Stage::Unrun, _) => Release::new(Ending::Clean, ReleaseMode::Free),
            (Stage::Runs, OnCancel::Hold) => Release::new(Ending::Cancelled, ReleaseMode::Note),
            (Stage::Runs, OnCancel::Release) => Release::new(Ending::Cancelled, ReleaseMode::Free),
        };
        self.call.shared().background.spawn(self.telling(release));
    }
}
