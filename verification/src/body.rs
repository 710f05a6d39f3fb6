//! The functions under test. The attribute is all that protects them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use idempotency::{Attempt, BoxError, Ending, Engine, Error, Fence, Outcome, idempotent};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::log::{Entry, Journal, What};
use crate::message::{Answer, Mark, Order, Point, Said};

/// The scope of the functions' keys. They share it by turns: a process calls one or the other for
/// one key.
pub(crate) const SCOPES: [&str; 2] = ["verification.value", "verification.outcome"];

/// A function that returns a value alone.
#[idempotent(
    key = key,
    scope = "verification.value",
    ttl = body.order.ttl,
    engine = engine,
    skip(body),
    ctx = attempt
)]
async fn value(engine: &Engine, key: &str, body: Body) -> Result<String, Failure> {
    body.run(&attempt).await
}

/// A function that says how its value came about.
#[idempotent(
    key = key,
    scope = "verification.outcome",
    ttl = body.order.ttl,
    engine = engine,
    skip(body),
    ctx = attempt
)]
async fn outcome(engine: &Engine, key: &str, body: Body) -> Result<Outcome<String>, Failure> {
    body.run(&attempt).await.map(Outcome::new)
}

/// What the functions return in place of a value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the database failed")]
    Database(#[source] BoxError),
    #[error("the body was told to fail")]
    Declined,
    #[error(transparent)]
    Idempotency(#[from] Error),
    #[error("the effect could not be written down")]
    Log(#[from] std::io::Error),
}

/// What the bodies of one process share.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) log: Box<dyn Journal>,
    /// The process.
    pub(crate) name: String,
    /// Where lines to the harness go.
    pub(crate) say: fn(&Said),
    executions: AtomicU64,
    /// Where bodies wait to be let go on, by their calls.
    hooks: Mutex<HashMap<u64, Arc<Hook>>>,
}

/// Where a body waits to be let go on.
#[derive(Debug, Default)]
struct Hook {
    open: AtomicBool,
    opened: Notify,
}

impl Stage {
    pub(crate) fn new(name: String, log: impl Journal + 'static, say: fn(&Said)) -> Self {
        Self {
            log: Box::new(log),
            name,
            say,
            executions: AtomicU64::new(1),
            hooks: Mutex::default(),
        }
    }

    /// Lets the body of `call` go on, or pass its hook when it comes to it.
    pub(crate) fn go(&self, call: u64) {
        let hook = self.hook(call);
        hook.open.store(true, Ordering::SeqCst);
        hook.opened.notify_one();
    }

    async fn wait(&self, call: u64) {
        let hook = self.hook(call);
        (self.say)(&Said::At(call));
        hook.opened.notified().await;
    }

    /// Waits as synchronous work does: without giving way to anything else on its thread.
    fn block(&self, call: u64) {
        let hook = self.hook(call);
        (self.say)(&Said::At(call));
        while !hook.open.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn hook(&self, call: u64) -> Arc<Hook> {
        let mut hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(hooks.entry(call).or_default())
    }
}

/// Carries an order out.
pub(crate) async fn call(engine: &Engine, stage: Arc<Stage>, order: Order) -> Answer {
    let (key, told) = (order.key.clone(), order.told);
    let body = Body { order, stage };
    if told {
        Answer::told(outcome(engine, &key, body).await)
    } else {
        Answer::untold(value(engine, &key, body).await)
    }
}

/// The body of a function.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) order: Order,
    pub(crate) stage: Arc<Stage>,
}

/// A body that has come to its effect.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) entry: Entry,
    body: Body,
}

impl Body {
    /// Has its effect, and returns the name of this execution.
    async fn run(self, attempt: &Attempt) -> Result<String, Failure> {
        self.begin(attempt).await?.end().await
    }

    /// Goes as far as to the effect.
    pub(crate) async fn begin(self, attempt: &Attempt) -> Result<Run, Failure> {
        let Self { order, stage } = &self;
        let number = stage.executions.fetch_add(1, Ordering::Relaxed);
        let entry = Entry {
            what: What::Start,
            key: order.key.clone(),
            call: order.call,
            execution: format!("{}-{number}", stage.name),
            attempt: attempt.number(),
            fence: attempt.fence().map_or(0, Fence::as_u64),
            previous: attempt.previous().map(Ending::letter),
            at: 0,
        };
        stage.log.write(entry.clone(), What::Start)?;
        pause(order.before).await;
        self.pass(Point::BeforeEffect).await?;
        Ok(Run { entry, body: self })
    }

    async fn pass(&self, point: Point) -> Result<(), Failure> {
        if self.order.hook == Some(point) {
            if self.order.blocks {
                self.stage.block(self.order.call);
            } else {
                self.stage.wait(self.order.call).await;
            }
        }
        if self.order.fails == Some(point) {
            return Err(Failure::Declined);
        }
        Ok(())
    }
}

impl Run {
    /// Writes the effect down, goes on from there, and returns the name of this execution.
    pub(crate) async fn end(self) -> Result<String, Failure> {
        let Self { entry, body } = self;
        body.stage.log.write(entry.clone(), What::Effect)?;
        body.pass(Point::AfterEffect).await?;
        pause(body.order.after).await;
        Ok(entry.execution)
    }
}

async fn pause(duration: Duration) {
    if !duration.is_zero() {
        sleep(duration).await;
    }
}

fn mark(outcome: &Outcome<String>) -> Mark {
    use idempotency::Provenance;

    match outcome.provenance() {
        Provenance::Executed { attempt, .. } => Mark::Executed(attempt),
        Provenance::Replayed { .. } => Mark::Replayed,
        Provenance::Unrecorded => Mark::Unrecorded,
        // Whatever comes to be added promises nothing, as far as is known here.
        _ => Mark::Unprotected,
    }
}

impl Answer {
    /// That of a function that says how its value came about.
    pub(crate) fn told(result: Result<Outcome<String>, Failure>) -> Self {
        match result {
            Ok(outcome) => {
                let mark = mark(&outcome);
                Self::Value(outcome.into_value(), Some(mark))
            }
            Err(failure) => failure.answer(),
        }
    }

    /// That of a function that returns a value alone.
    pub(crate) fn untold(result: Result<String, Failure>) -> Self {
        match result {
            Ok(value) => Self::Value(value, None),
            Err(failure) => failure.answer(),
        }
    }
}

impl Failure {
    fn answer(self) -> Answer {
        let text = |bytes: &[u8]| serde_json::from_slice(bytes).ok();
        match self {
            Self::Database(error) => Answer::RolledBack(reasons(&*error)),
            Self::Declined => Answer::Declined,
            Self::Idempotency(error) => match error {
                Error::CommitUnknown { source, .. } => Answer::CommitUnknown(reasons(&source)),
                Error::InDoubt => Answer::InDoubt,
                Error::InProgress { .. } => Answer::InProgress,
                Error::LeaseLost { value } => Answer::LeaseLost(text(value.bytes())),
                Error::RolledBack { source, .. } => Answer::RolledBack(reasons(&source)),
                Error::Unrecorded { value, .. } => Answer::Unrecorded(text(value.bytes())),
                Error::Store { source, .. } => Answer::Store(reasons(&source)),
                error => Answer::Unexpected(reasons(&error)),
            },
            Self::Log(error) => Answer::Unexpected(reasons(&error)),
        }
    }
}

/// An error with all its sources, in one line.
fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
