use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::{EventKind, Events, Jitter, Observer};
use crate::store::{Inspect, Store};
use crate::sync::time::sleep;
use crate::task::TaskHandle;

const BATCH: usize = 5_000;
const INTERVAL: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);

/// A century: far enough never to come, and near enough to be multiplied without an overflow.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Removes expired records in the background, a batch at a time.
///
/// A run removes batch after batch until nothing is left, and pauses in between, so that the store has
/// time for others. The next run comes half an interval later, or up to a whole one: processes that
/// start together do not purge together. The first run comes as late.
///
/// # What is guaranteed
///
/// - Only expired records go.
/// - Any number of purgers may run at once, in any number of processes. Each record goes once.
/// - A store that fails ends the run, not the purger: the next run tries again. That is an event,
///   [`EventKind::PurgeFailed`], of which there is a warning in the log (`tracing`, target `idempotency`).
///   So is each batch that has removed something, [`EventKind::Purged`]. No event has a key.
///
/// # What is not
///
/// - When a record goes. A record past its end counts as absent, whether it has been purged or not:
///   all that depends on a purger is the room that records take.
/// - That files shrink. Most databases keep the room for records to come.
///
/// # Stores
///
/// [`MemoryStore`](crate::MemoryStore) and the SQLite store make room in passing, and a purger only
/// spares them the rest. Redis removes expired records by itself, so that there a purger has nothing
/// to do. PostgreSQL needs one.
///
/// # Clone
///
/// A clone is a purger of its own, of the same store.
///
/// # Cancel safety
///
/// A purger may end at any time: what it has not removed is left for the next one. If it ends during
/// a batch, the store may still remove that batch.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use idempotent_core::{Engine, Error, Inspect, MemoryStore, Purger};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Error> {
/// let store = MemoryStore::new();
/// let purger = Purger::new(store.clone()).interval(Duration::from_secs(10)).spawn();
///
/// let engine = Engine::builder(store.clone()).ttl(Duration::from_secs(60)).build();
/// let charge = engine.operation("payments.charge").key("order-17");
/// charge.run(async { Ok::<u32, Error>(500) }).await?;
///
/// tokio::time::sleep(Duration::from_secs(90)).await;
/// assert_eq!(store.statistics().await.expect("it has no way to fail").expired, 0);
/// purger.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a purger does nothing until it is spawned or run"]
pub struct Purger<S> {
    store: S,
    batch: usize,
    interval: Duration,
    pause: Duration,
    events: Events,
}

impl<S: Inspect + Store> Purger<S> {
    /// A purger of `store`, with every default.
    pub const fn new(store: S) -> Self {
        Self {
            store,
            batch: BATCH,
            interval: INTERVAL,
            pause: PAUSE,
            events: Events::none(),
        }
    }

    /// How long after a run the next one comes at the latest: 60 s. At the earliest it is half of
    /// that.
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How many records go at once, at most: 5 000, and never less than one.
    pub const fn batch(mut self, records: usize) -> Self {
        self.batch = records;
        self
    }

    /// For how long a run leaves the store alone between two batches: 10 ms.
    pub const fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Who hears of every purge that has removed something, or failed.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.events.observer = Some(Arc::new(observer));
        self
    }

    /// Purges until it is dropped, as by [`select!`](https://docs.rs/tokio/latest/tokio/macro.select.html).
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe, and has no other end: see [`Purger`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use idempotent_core::{MemoryStore, Purger};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// # let serve = tokio::time::sleep(Duration::from_secs(600));
    /// tokio::select! {
    ///     () = serve => {}
    ///     never = Purger::new(MemoryStore::new()).run() => match never {},
    /// }
    /// # }
    /// ```
    pub async fn run(self) -> Infallible {
        let jitter = Jitter::random();
        let interval = self.interval.min(LONGEST);
        loop {
            sleep(jitter.apply(interval)).await;
            self.purge_all().await;
        }
    }

    /// Purges in a task of its own, until the handle is dropped or [stopped](TaskHandle::stop).
    ///
    /// # Panics
    ///
    /// If it is called outside of a tokio runtime.
    pub fn spawn(self) -> TaskHandle {
        TaskHandle::spawn(self.run())
    }

    async fn purge_all(&self) {
        let store = self.store.name();
        loop {
            // None at once would be none for ever.
            match self.store.purge(self.batch.max(1)).await {
                Ok(purged) => {
                    if purged.records > 0 {
                        self.events.purged(store, purged.records);
                    }
                    if !purged.more {
                        return;
                    }
                }
                Err(error) => {
                    let detail = format_args!("{store}: {error}; the next run tries again");
                    return self.events.emit(EventKind::PurgeFailed, "", None, &detail);
                }
            }
            sleep(self.pause).await;
        }
    }
}
