//! How often an effect happens if the function that has it is stopped anywhere.
//!
//! A function that is safe to retry has to be safe wherever it was stopped. [`Interruptions`] runs a
//! function once for each point at which it can be, stops it there, lets its lease run out, calls
//! it again until it answers, and once more to see the answer replayed.
//!
//! # The points
//!
//! - At each await: the caller goes away, or the whole process dies.
//! - At each call of the store: the process dies before the call gets through, or before the reply
//!   does; the store fails, or its reply is lost, and the process goes on.
//!
//! The calls come one after the other. What happens when they meet is the business of the store, and
//! of the [suite](crate::conformance) that it passes.
//!
//! # Examples
//!
//! A card is charged through a client that cannot tell a retry from a new charge. Whoever allows a
//! second attempt after a crash has to reckon with a second charge:
//!
//! ```
//! use std::sync::atomic::{AtomicUsize, Ordering};
//!
//! use idempotent_core::{Engine, Error};
//! use idempotent_testkit::interruptions::Interruptions;
//!
//! static CHARGES: AtomicUsize = AtomicUsize::new(0);
//!
//! async fn charge(engine: &Engine, order: u32) -> Result<String, Error> {
//!     engine
//!         .operation("orders.charge")
//!         .key(order)
//!         .run(async {
//!             CHARGES.fetch_add(1, Ordering::SeqCst);
//!             tokio::task::yield_now().await;
//!             Ok("paid".to_owned())
//!         })
//!         .await
//! }
//!
//! let report = Interruptions::of(|store| async { charge(&Engine::new(store), 7).await })
//!     .effects(|| CHARGES.load(Ordering::SeqCst))
//!     .run();
//!
//! assert_eq!(report.most_effects(), 2);
//! report.assert_answered();
//! report.assert_same_answers();
//! ```
//!
//! Whoever does not, has to resolve what is in doubt after a crash, and charges once:
//!
//! ```
//! # use std::sync::atomic::{AtomicUsize, Ordering};
//! # use idempotent_core::{Engine, Error, OnAbandoned};
//! # use idempotent_testkit::interruptions::Interruptions;
//! # static CHARGES: AtomicUsize = AtomicUsize::new(0);
//! # async fn charge(engine: &Engine, order: u32) -> Result<String, Error> {
//! #     engine
//! #         .operation("orders.charge")
//! #         .key(order)
//! #         .run(async {
//! #             CHARGES.fetch_add(1, Ordering::SeqCst);
//! #             tokio::task::yield_now().await;
//! #             Ok("paid".to_owned())
//! #         })
//! #         .await
//! # }
//! Interruptions::of(|store| async {
//!     let engine = Engine::builder(store).on_abandoned(OnAbandoned::InDoubt).build();
//!     charge(&engine, 7).await
//! })
//! .effects(|| CHARGES.load(Ordering::SeqCst))
//! .run()
//! .assert_at_most(1);
//! ```

mod process;
mod report;

use std::fmt::{self, Debug};
use std::panic::resume_unwind;
use std::thread;

use idempotent_core::{Clock, Inspect, MemoryStore, Query, State};

pub(crate) use self::process::Process;
pub use self::report::{Interruption, Point, Report};
use crate::faults::{Faults, Faulty};

/// The store that a function is given.
pub type InterruptedStore = Faulty<MemoryStore>;

/// After so many calls without an answer, there will be none.
const MOST_CALLS: usize = 4;
/// A function that can be stopped at more points of one kind does not end.
const MOST_POINTS: usize = 10_000;

const EVERYWHERE: [fn(usize) -> Interruption; 6] = [
    |polls| Interruption::CallerGone { polls },
    |polls| Interruption::Crash { polls },
    |call| Interruption::CrashBefore { call },
    |call| Interruption::CrashAfter { call },
    |call| Interruption::StoreFails { call },
    |call| Interruption::ReplyLost { call },
];

/// A function that is to be stopped wherever it can be.
#[must_use = "nothing is stopped until `run` is called"]
pub struct Interruptions<F> {
    function: F,
    effects: Box<dyn Fn() -> usize + Send + Sync>,
}

impl<F> Interruptions<F> {
    /// Begins with a function that makes an engine of the store it is given, and calls what is to be
    /// tested, with the same key and the same arguments every time.
    ///
    /// Each call is a process: a runtime of its own, with one thread, whose time is paused. A timer
    /// goes off as soon as there is nothing else to do.
    pub fn of<Answer>(function: F) -> Self
    where
        F: Fn(InterruptedStore) -> Answer,
    {
        Self {
            function,
            effects: Box::new(|| 0),
        }
    }

    /// Sets how to count the effects, all that there have been so far.
    pub fn effects(mut self, count: impl Fn() -> usize + Send + Sync + 'static) -> Self {
        self.effects = Box::new(count);
        self
    }

    /// Stops the function at every point in turn, and reports what came of it. Blocks until then.
    ///
    /// # Panics
    ///
    /// If the function panics, or there is no end of points.
    pub fn run<Answer, T, E>(self) -> Report<T>
    where
        F: Fn(InterruptedStore) -> Answer + Send,
        Answer: Future<Output = Result<T, E>>,
        T: Debug + PartialEq + Send,
        E: Debug,
    {
        apart(move || self.everywhere())
    }

    /// Lets the process die at one point only: where the function has done the step `name`, and its record
    /// has not got through to the store.
    ///
    /// # Panics
    ///
    /// If the function records no such step, or panics.
    ///
    /// # Examples
    ///
    /// What is not recorded is done again, with the same key, by which whoever does it can tell:
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// use idempotent_core::{Engine, Error};
    /// use idempotent_testkit::interruptions::{InterruptedStore, Interruptions};
    ///
    /// static CHARGES: AtomicUsize = AtomicUsize::new(0);
    ///
    /// async fn pay(store: InterruptedStore) -> Result<(), Error> {
    ///     let engine = Engine::new(store);
    ///     let operation = engine.operation("orders.pay").key("order-17");
    ///     operation
    ///         .run_with(async |run| {
    ///             run.step("charge", async |_key| {
    ///                 CHARGES.fetch_add(1, Ordering::SeqCst);
    ///                 Ok(())
    ///             })
    ///             .await
    ///         })
    ///         .await
    /// }
    ///
    /// let charges = || Interruptions::of(pay).effects(|| CHARGES.load(Ordering::SeqCst));
    /// assert_eq!(charges().crash_before_record("charge").most_effects(), 2);
    /// charges().crash_after("charge").assert_at_most(1);
    /// ```
    pub fn crash_before_record<Answer, T, E>(self, name: &str) -> Report<T>
    where
        F: Fn(InterruptedStore) -> Answer + Send,
        Answer: Future<Output = Result<T, E>>,
        T: Debug + PartialEq + Send,
        E: Debug,
    {
        self.at_step(name, |call| Interruption::CrashBefore { call })
    }

    /// Lets the process die at one point only: where the step `name` is recorded, and nothing is done after
    /// it.
    ///
    /// # Panics
    ///
    /// If the function records no such step, or panics.
    pub fn crash_after<Answer, T, E>(self, name: &str) -> Report<T>
    where
        F: Fn(InterruptedStore) -> Answer + Send,
        Answer: Future<Output = Result<T, E>>,
        T: Debug + PartialEq + Send,
        E: Debug,
    {
        self.at_step(name, |call| Interruption::CrashAfter { call })
    }

    fn at_step<Answer, T, E>(self, name: &str, interruption: fn(usize) -> Interruption) -> Report<T>
    where
        F: Fn(InterruptedStore) -> Answer + Send,
        Answer: Future<Output = Result<T, E>>,
        T: Debug + PartialEq + Send,
        E: Debug,
    {
        let stopped = apart(move || {
            let call = self.call_of(name)?;
            self.point(interruption(call))
        });
        Report::new(vec![
            stopped.unwrap_or_else(|| panic!("the function records no step `{name}`")),
        ])
    }

    /// Which call of the store records the step `name`.
    fn call_of<Answer, T, E>(&self, name: &str) -> Option<usize>
    where
        F: Fn(InterruptedStore) -> Answer,
        Answer: Future<Output = Result<T, E>>,
    {
        let (faults, clock) = (Faults::new(), Clock::manual());
        let store = MemoryStore::new().with_clock(clock.clone());
        let call = (self.function)(faults.wrap(store));
        _ = Process::start(&clock).run(call, &faults);
        faults.call_of(name)
    }

    fn everywhere<Answer, T, E>(self) -> Report<T>
    where
        F: Fn(InterruptedStore) -> Answer,
        Answer: Future<Output = Result<T, E>>,
        T: Debug + PartialEq,
        E: Debug,
    {
        let mut points = Vec::new();
        points.extend(self.point(Interruption::None));
        for interruption in EVERYWHERE {
            for number in 1.. {
                assert!(number <= MOST_POINTS, "there is no end of points");
                let Some(point) = self.point(interruption(number)) else {
                    break;
                };
                points.push(point);
            }
        }
        Report::new(points)
    }

    /// Stops the function at one point, and calls it until it answers, and once more to see the
    /// answer replayed. Returns `None` if it ended before that point.
    fn point<Answer, T, E>(&self, interruption: Interruption) -> Option<Point<T>>
    where
        F: Fn(InterruptedStore) -> Answer,
        Answer: Future<Output = Result<T, E>>,
        E: Debug,
    {
        let effects = (self.effects)();
        let clock = Clock::manual();
        let store = MemoryStore::new().with_clock(clock.clone());

        let faults = Faults::new();
        let call = (self.function)(faults.wrap(store.clone()));
        let run = Process::start(&clock).interrupt(call, interruption, &faults);
        if !run.reached {
            return None;
        }
        let mut point = Point::new(interruption, faults.calls());
        point
            .returned
            .extend(run.result.map(|result| result.map_err(debug)));

        for _ in 0..MOST_CALLS {
            if point.is_replayed() {
                break;
            }
            let faults = Faults::new();
            let retry = async {
                let_leases_run_out(&store, &clock).await;
                (self.function)(faults.wrap(store.clone())).await
            };
            let result = Process::start(&clock).run(retry, &faults);
            point.returned.push(result.map_err(debug));
        }
        point.effects = (self.effects)() - effects;
        Some(point)
    }
}

/// Runs `work` on a thread of its own: the caller may be in a runtime, where no other can be started.
pub(crate) fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let work = scope.spawn(work);
        work.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

fn debug(error: impl Debug) -> String {
    format!("{error:?}")
}

async fn let_leases_run_out(store: &MemoryStore, clock: &Clock) {
    let running = Query::all()
        .with_state(State::InProgress)
        .with_limit(usize::MAX);
    let page = store.list(&running).await.unwrap();
    let ends = page.entries.iter().map(|entry| entry.record.lease_until());
    if let Some(end) = ends.max() {
        clock.advance(end.since(clock.now()));
    }
}

impl<F> Debug for Interruptions<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interruptions").finish_non_exhaustive()
    }
}
