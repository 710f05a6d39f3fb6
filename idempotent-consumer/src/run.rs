//! Many deliveries, from the first to the end of a shutdown.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};

use crate::config::{ConfigError, prefetch};
use crate::disposition::Disposition;
use crate::handle::Shared;
use crate::hold::Holds;
use crate::mode::Mode;
use crate::outcome::Outcome;
use crate::race::{First, race};
use crate::settle::{Delivery, Settle};
use crate::source::{Source, SourceError};
use crate::stop::Stopper;
use crate::worker::Worker;

/// How long a handler has that was told to stop.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long the store has to hear that the claims are given up. The end of their leases says as much.
const GIVING_UP: Duration = Duration::from_secs(5);

/// Why a consumer has stopped without being told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The consumer does not fit the broker. Nothing has been consumed.
    #[error("the consumer does not fit the broker")]
    Config(#[from] ConfigError),
    /// A message came without an id, and [`MissingId::Error`](crate::MissingId::Error) was chosen. It is
    /// left as it is.
    #[error("a message has no id that can be a key; it was left as it is")]
    MissingId,
    /// No more deliveries can be had.
    #[error("no more deliveries can be had")]
    Source(#[from] SourceError),
}

/// The end of one delivery.
enum Handled {
    MissingId,
    Well,
}

type Tasks = JoinSet<Handled>;

impl<M: Mode> Worker<M> {
    /// Handles the messages of `source` until there are none, or until `shutdown` is ready; each in a task
    /// of its own.
    ///
    /// At a shutdown no more messages are fetched, handlers have [so long](crate::Builder::drain) to
    /// finish, then their [context](crate::Context::cancelled) tells them to stop, and then they are
    /// dropped. Their claims are given up, without counting a failure, and their deliveries are left
    /// unsettled, so that the broker hands them to somebody else.
    ///
    /// While the store is down, no messages are fetched but for one at a time, to see whether it is back,
    /// and none is put aside for that reason.
    ///
    /// # Errors
    ///
    /// See [`RunError`]. Handlers that ran by then have had the same time to finish.
    ///
    /// # Cancel safety
    ///
    /// If this is dropped, so are the handlers, as after a crash of the process, but for their claims,
    /// which are given up in the background.
    pub async fn run<S: Source>(
        &self,
        mut source: S,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), RunError> {
        let (config, broker) = (self.consumer.config(), source.capabilities());
        config.check(&broker)?;
        if let Some(warning) = config.warning(&broker) {
            tracing::warn!(target: "idempotency::consumer", scope = config.scope, "{warning}");
        }
        let stopper = Stopper::new();
        let shared = Arc::new(Shared {
            holds: Holds::new(prefetch(&broker)),
            slots: Arc::new(Semaphore::new(config.concurrency)),
            stop: stopper.stop(),
        });
        let mut tasks = Tasks::new();
        let fetching = self.fetch(&mut source, &shared, &mut tasks);
        let ended = match race(shutdown, fetching).await {
            First::A(()) => Ok(()),
            First::B(ended) => ended,
        };
        let drained = self.shut_down(&stopper, &mut tasks).await;
        ended.and(drained)
    }

    /// Hands each delivery to a task, for as long as there are deliveries.
    async fn fetch<S: Source>(
        &self,
        source: &mut S,
        shared: &Arc<Shared>,
        tasks: &mut Tasks,
    ) -> Result<(), RunError> {
        let prefetch = prefetch(&source.capabilities());
        loop {
            let slot = self.slot(shared).await;
            while tasks.len() >= prefetch {
                finished(tasks.join_next().await)?;
            }
            let delivery = loop {
                match race(source.next(), joined(tasks)).await {
                    First::A(delivery) => break delivery?,
                    First::B(task) => finished(Some(task))?,
                }
            };
            let Some(delivery) = delivery else {
                return Ok(());
            };
            let (worker, shared) = (self.clone(), Arc::clone(shared));
            tasks.spawn(async move { worker.task(delivery, &shared, slot).await });
        }
    }

    /// A place for a handler; all of them, to see whether the store is back.
    async fn slot(&self, shared: &Shared) -> OwnedSemaphorePermit {
        let slot = shared.slot(1).await;
        let Some(pause) = self.consumer.shared().breaker.pause() else {
            return slot;
        };
        drop(slot);
        sleep(pause).await;
        let all = u32::try_from(self.consumer.config().concurrency).unwrap_or(u32::MAX);
        shared.slot(all).await
    }

    async fn task<S: Settle>(
        self,
        delivery: Delivery<S>,
        shared: &Shared,
        slot: OwnedSemaphorePermit,
    ) -> Handled {
        let processed = self.handle_with(delivery, shared, slot).await;
        match (processed.outcome, processed.disposition) {
            (Outcome::MissingId, Disposition::Leave) => Handled::MissingId,
            _ => Handled::Well,
        }
    }

    /// Lets the handlers finish, then tells them to stop, then drops them.
    async fn shut_down(&self, stopper: &Stopper, tasks: &mut Tasks) -> Result<(), RunError> {
        let config = self.consumer.config();
        stopper.drain();
        let drained = timeout(config.drain, all_finished(tasks)).await;
        stopper.cancel();
        let last = timeout(LAST_WORDS, all_finished(tasks)).await;
        tasks.shutdown().await;
        _ = timeout(GIVING_UP, config.engine.drained()).await;
        drained.unwrap_or(Ok(())).and(last.unwrap_or(Ok(())))
    }
}

async fn all_finished(tasks: &mut Tasks) -> Result<(), RunError> {
    let mut ended = Ok(());
    while let Some(task) = tasks.join_next().await {
        ended = ended.and(finished(Some(task)));
    }
    ended
}

/// The next task that ends; never, if there is none.
async fn joined(tasks: &mut Tasks) -> Result<Handled, JoinError> {
    match tasks.join_next().await {
        Some(task) => task,
        None => std::future::pending().await,
    }
}

/// What the end of a task means to the whole.
fn finished(task: Option<Result<Handled, JoinError>>) -> Result<(), RunError> {
    match task {
        Some(Ok(Handled::MissingId)) => Err(RunError::MissingId),
        Some(Ok(Handled::Well)) | None => Ok(()),
        // Handlers' panics are caught, so this is one of a hook or of an adapter, whose message comes
        // again; or the task was dropped.
        Some(Err(error)) => {
            tracing::error!(target: "idempotency::consumer", %error, "a delivery was given up");
            Ok(())
        }
    }
}
