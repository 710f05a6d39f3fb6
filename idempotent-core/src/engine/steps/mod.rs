//! Recovery points: the parts of an operation that are recorded one by one, so that the next attempt goes
//! on where the last one ended.

mod ending;
mod entry;
mod error;
mod log;
mod record;
mod transaction;

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use self::ending::Returned;
pub(crate) use self::entry::{Entry, input_name};
pub use self::error::{StepError, StepMismatch};
use self::log::Plan;
pub(crate) use self::log::{Limits, Log, Rules, Stop};
use super::Attempt;
use super::attempt::Run;
use super::claim::Call;
use crate::error::Error;
use crate::record::Payload;
use crate::sync::{Mutex, MutexGuard, lock};

/// How the steps of a run are matched with those that are recorded.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Determinism {
    /// By their names alone: steps may come, go and change places between two versions of a program. What
    /// an operation did in another order is not noticed.
    ByName,
    /// By name and place: a run that goes another way than the recorded one is stopped before anything
    /// runs.
    #[default]
    Strict,
}

/// A key for the call that a step makes to another service: the same on every attempt, on every host and
/// in every version.
///
/// 40 characters of base32 (RFC 4648, lower case), derived by SHA-256 from the operation's key and the
/// step's name.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct StepKey(String);

impl StepKey {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for StepKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<StepKey> for String {
    fn from(key: StepKey) -> Self {
        key.0
    }
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StepKey").field(&self.0).finish()
    }
}

/// What is to be done about a step that was built.
#[derive(Debug)]
enum Built {
    /// It just runs: there is no record, or it is part of another step.
    Plain,
    /// It was recorded before.
    Known(Payload),
    /// It is to run, and to be recorded at this place.
    Run { place: u32 },
}

impl From<Plan> for Built {
    fn from(plan: Plan) -> Self {
        match plan {
            Plan::Known(payload) => Self::Known(payload),
            Plan::Run { place } => Self::Run { place },
        }
    }
}

/// Steps: see the crate's documentation of recovery points.
impl Attempt {
    /// Runs `body` and records its value, so that no later attempt runs it again: that one gets the value.
    ///
    /// `body` is given a key for the one call to another service that it makes. If a process dies after
    /// that call and before the record of it, the next attempt makes it again, with the same key.
    ///
    /// The steps are numbered as they are built, not as they end: they may run at the same time, as with
    /// `tokio::join!`. What is between steps runs on every attempt, so it must do the same each time: a
    /// random number or the time is a [`value`](Self::value).
    ///
    /// An error of `body` is not recorded: the next attempt runs the step again. An error that is final
    /// ends the operation, which can [record it](crate::Operation::record_errors_if); one that the
    /// operation goes on after is a value, `Ok(Err(..))`.
    ///
    /// A step within the body of another one is part of that, and not recorded. So is every step of an
    /// attempt that runs [unprotected](Self::is_unprotected).
    ///
    /// # Errors
    ///
    /// Those of `body`, and [`Error::Step`].
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: after a step was dropped in the middle of its run, nothing more can be recorded. A
    /// timeout, or a retry, belongs into `body`.
    ///
    /// # Examples
    ///
    /// ```
    /// use idempotent_core::{Engine, Error, MemoryStore, StepKey};
    ///
    /// # async fn charge(cents: u32, key: StepKey) -> Result<String, Error> { Ok(format!("{cents}")) }
    /// # async fn mail(charge: &str, key: StepKey) -> Result<(), Error> { Ok(()) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// let engine = Engine::new(MemoryStore::new());
    /// let order = engine.operation("orders.create").key("order-17");
    /// order
    ///     .run_with(async |run| {
    ///         let charge = run.step("charge", |key| charge(500, key)).await?;
    ///         run.step("mail", |key| mail(&charge, key)).await?;
    ///         Ok::<_, Error>(charge)
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn step<T, E, F, Fut>(
        &self,
        name: impl Into<Cow<'static, str>>,
        body: F,
    ) -> impl Future<Output = Result<T, E>>
    where
        F: FnOnce(StepKey) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        T: Serialize + DeserializeOwned,
        E: From<Error>,
    {
        let name = name.into();
        let built = self.build(&name);
        async move {
            let key = StepKey(self.key_for(&name));
            match built? {
                Built::Plain => body(key).await,
                Built::Known(payload) => Ok(self.decode(&payload)?),
                Built::Run { place } => {
                    let open = self.open(&name, place)?;
                    match inside(&self.run, || body(key)).await {
                        Ok(value) => Ok(open.keep(value).await?),
                        Err(error) => {
                            open.close();
                            Err(error)
                        }
                    }
                }
            }
        }
    }

    /// Like [`step`](Self::step), for the `n`th of the steps of a loop: its name is `name[n]`.
    ///
    /// # Errors
    ///
    /// As for [`step`](Self::step).
    ///
    /// # Cancel safety
    ///
    /// As for [`step`](Self::step).
    pub fn step_n<T, E, F, Fut>(
        &self,
        name: &str,
        n: usize,
        body: F,
    ) -> impl Future<Output = Result<T, E>>
    where
        F: FnOnce(StepKey) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        T: Serialize + DeserializeOwned,
        E: From<Error>,
    {
        self.step(format!("{name}[{n}]"), body)
    }

    /// Records what `make` gives, so that every attempt has the same: the time, a random number, an id.
    ///
    /// # Errors
    ///
    /// [`Error::Step`].
    ///
    /// # Cancel safety
    ///
    /// As for [`step`](Self::step).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::SystemTime;
    /// # use idempotent_core::{Attempt, Error};
    /// # async fn body(run: Attempt) -> Result<(), Error> {
    /// let now = run.value("now", SystemTime::now).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn value<T>(
        &self,
        name: impl Into<Cow<'static, str>>,
        make: impl FnOnce() -> T,
    ) -> impl Future<Output = Result<T, Error>>
    where
        T: Serialize + DeserializeOwned,
    {
        self.step(name, |_| async { Ok(make()) })
    }

    /// Whether the run goes the way of the change `id`: where a new version of a program adds, removes or
    /// replaces steps, runs that an old version has begun go the old way to their end.
    ///
    /// `true` for a run that has nothing recorded from here on, which is recorded; `false` for one that
    /// has, by a version without this line.
    ///
    /// # Errors
    ///
    /// [`Error::Step`].
    ///
    /// # Cancel safety
    ///
    /// As for [`step`](Self::step).
    ///
    /// # Examples
    ///
    /// ```
    /// # use idempotent_core::{Attempt, Error};
    /// # async fn check() -> Result<(), Error> { Ok(()) }
    /// # async fn charge() -> Result<(), Error> { Ok(()) }
    /// # async fn body(run: Attempt) -> Result<(), Error> {
    /// if run.patched("check-fraud").await? {
    ///     run.step("check", |_| check()).await?;
    /// }
    /// run.step("charge", |_| charge()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn patched(&self, id: &str) -> impl Future<Output = Result<bool, Error>> {
        let name = entry::patch_name(id);
        let built = self.build_patch(&name);
        async move {
            match built? {
                None => Ok(false),
                Some(Built::Plain | Built::Known(_)) => Ok(true),
                Some(Built::Run { place }) => {
                    self.open(&name, place)?.keep(()).await?;
                    Ok(true)
                }
            }
        }
    }

    fn build(&self, name: &str) -> Result<Built, Error> {
        if self.runs_plain() {
            return Ok(Built::Plain);
        }
        let (mut log, rules) = self.log()?;
        Ok(log.plan(name, &rules)?.into())
    }

    fn build_patch(&self, name: &str) -> Result<Option<Built>, Error> {
        if self.runs_plain() {
            return Ok(Some(Built::Plain));
        }
        let (mut log, rules) = self.log()?;
        Ok(log.plan_patch(name, &rules)?.map(Built::from))
    }

    fn runs_plain(&self) -> bool {
        self.is_unprotected() || is_inside(&self.run)
    }

    /// The log of this run, and what it is judged by.
    fn log(&self) -> Result<(MutexGuard<'_, Log>, Rules<'_>), Error> {
        let (call, grant) = self.held().ok_or(Error::NoEngine)?;
        let log = if let Some(log) = self.run.log.get() {
            log
        } else {
            let log = Log::read(&grant.steps)?;
            self.run.log.get_or_init(|| Mutex::new(log))
        };
        Ok((lock(log), call.rules()))
    }

    fn decode<T: DeserializeOwned>(&self, payload: &Payload) -> Result<T, Error> {
        let (call, _) = self.held().ok_or(Error::NoEngine)?;
        call.decode(payload)
    }
}

impl Call {
    /// What the runs of this operation are judged by.
    pub(crate) fn rules(&self) -> Rules<'_> {
        let shared = self.shared();
        Rules {
            determinism: self.policy.determinism,
            limits: shared.step_limits,
            version: &shared.version,
        }
    }
}

thread_local! {
    /// Which run's step is being polled on this thread, by its address.
    static INSIDE: Cell<usize> = const { Cell::new(0) };
}

fn is_inside(run: &Run) -> bool {
    INSIDE.get() == std::ptr::from_ref(run).addr()
}

/// Runs `body`, whose own steps are part of it.
async fn inside<Fut: Future>(run: &Run, body: impl FnOnce() -> Fut) -> Fut::Output {
    let address = std::ptr::from_ref(run).addr();
    let mut future = pin!(within(address, body));
    poll_fn(|cx| within(address, || future.as_mut().poll(cx))).await
}

fn within<T>(address: usize, body: impl FnOnce() -> T) -> T {
    struct Restore(usize);
    impl Drop for Restore {
        fn drop(&mut self) {
            INSIDE.set(self.0);
        }
    }
    let _restore = Restore(INSIDE.replace(address));
    body()
}
