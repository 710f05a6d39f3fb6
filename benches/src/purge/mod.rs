//! What callers notice of a purge: first calls before a purger runs, while it removes a million expired
//! records, and after that.

mod callers;
mod postgres;
mod sqlite;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use idempotency::{Engine, Error, Event, EventKind, Inspect, Purger, Store};
use tokio::runtime::Runtime;
use tokio::time::sleep;

use self::callers::{CALLERS, Callers, Span, Watched};
use crate::args::Args;
use crate::clock::Stopwatch;
use crate::orders::{Ours, deliver, orders, receipt_text, threads};
use crate::progress::Progress;
use crate::rounds::{Pair, count};
use crate::table::{Bar, Row, Table, Unit};

const RESULT_BYTES: usize = 200;
const RECORDS: usize = 1_000_000;
/// For how long callers are watched without a purger.
const SECONDS: usize = 10;
/// Until connections are there, and statements prepared.
const WARM_UP: Duration = Duration::from_secs(1);
/// The shortest time in which callers are watched.
const SHORTEST: Duration = Duration::from_millis(250);
/// A purger begins between half an interval and a whole one after its start, and there is no need to wait
/// for a minute. All else is as it is by default.
const INTERVAL: Duration = Duration::from_millis(20);
/// When no batch has come for so long, a run has come to its end.
const QUIET: Duration = Duration::from_secs(2);
/// When a purge is given up.
const LIMIT: Duration = Duration::from_secs(1_800);

/// Whose record all the expired ones are copies of.
const SCOPE: &str = "purge.old";
const TEMPLATE: &str = "template";
/// How much earlier than the one before each copy has expired, in microseconds: a million in a day.
const APART: usize = 86_400;

/// What the rows of the table are called.
struct Names {
    progress: &'static str,
    during: &'static str,
    after: &'static str,
    late_during: &'static str,
    late_after: &'static str,
    records: &'static str,
    rate: &'static str,
    time: &'static str,
}

pub(crate) fn measure(args: &Args, progress: &Progress, table: &mut Table) -> Result<()> {
    let bench = Bench {
        runtime: threads(2)?,
        text: receipt_text(RESULT_BYTES),
        records: args.rounds(RECORDS),
        phase: Duration::from_secs(args.rounds(SECONDS).try_into()?),
    };
    sqlite::measure(&bench, progress, table)?;
    postgres::measure(&bench, progress, table)
}

struct Bench {
    runtime: Runtime,
    text: &'static str,
    records: usize,
    phase: Duration,
}

/// Batches that were purged: when they were gone, since the start, and how many records they had.
type Batches = Arc<Mutex<Vec<(Duration, usize)>>>;

/// What there was to see.
struct Seen {
    /// Without a purger.
    before: Watched,
    /// With one.
    purge: Watched,
    /// When it was done.
    after: Watched,
    batches: Vec<(Duration, usize)>,
}

impl Bench {
    /// Leaves one record in `store` that has expired, for SQL to copy.
    fn leave_template(&self, store: impl Store) -> Result<()> {
        let order = orders(0, 1).pop().context("one order")?;
        let operation = Engine::new(store)
            .operation(SCOPE)
            .key(TEMPLATE)
            .ttl(Duration::from_millis(1));
        let taken = operation.run(async { Ok::<_, Error>(deliver(self.text, &order)) });
        self.runtime.block_on(taken)?;
        Ok(())
    }

    /// Measures with the `store`, in which `fill` puts expired records where there are none, and adds rows
    /// to `table`.
    fn measure<S: Inspect + Store + Clone>(
        &self,
        store: &S,
        fill: impl Fn() -> Result<()>,
        names: &Names,
        progress: &Progress,
        table: &mut Table,
    ) -> Result<()> {
        let mut callers = Callers::new(Ours::new(Engine::new(store.clone()), self.text));
        let mut steps = progress.rounds(names.progress, 3);
        steps.next();
        let before = self.watch_before(store, &fill, &mut callers)?;

        steps.next();
        fill()?;
        let watch = Stopwatch::start();
        let purging = callers.during(watch, purge(store, watch));
        let (calls, batches) = self.runtime.block_on(purging)?;
        let [(begun, _), .., (ended, _)] = &batches[..] else {
            bail!("a purge of {} batches says nothing", batches.len());
        };
        // Nobody was told when the first batch began.
        let span = Span::new(*begun, *ended);
        let purge = Watched { calls, span };

        steps.next();
        let after = self.runtime.block_on(callers.watch(WARM_UP, self.phase))?;
        steps.for_each(drop);
        let seen = Seen {
            before,
            purge,
            after,
            batches,
        };
        seen.add_to(table, names)
    }

    /// Watches callers while expired records are there, and no purger.
    fn watch_before<S: Inspect + Store>(
        &self,
        store: &S,
        fill: impl Fn() -> Result<()>,
        callers: &mut Callers,
    ) -> Result<Watched> {
        let mut phase = self.phase;
        loop {
            fill()?;
            let watched = self.runtime.block_on(callers.watch(WARM_UP, phase))?;
            if self.runtime.block_on(store.statistics())?.expired > 0 {
                return Ok(watched);
            }
            // In a file, each new record takes a few of the expired ones with it.
            phase /= 2;
            ensure!(
                phase > SHORTEST,
                "expired records go by themselves before anything can be measured"
            );
        }
    }
}

/// Purges until nothing is left that has expired.
async fn purge<S: Inspect + Store + Clone>(
    store: &S,
    watch: Stopwatch,
) -> Result<Vec<(Duration, usize)>> {
    let (batches, failures) = (Batches::default(), Arc::new(Mutex::new(Vec::new())));
    let (gone, failed) = (Arc::clone(&batches), Arc::clone(&failures));
    let observer = move |event: &Event<'_>| match event.kind() {
        EventKind::Purged => locked(&gone).push((watch.elapsed(), event.records())),
        _ => locked(&failed).push(event.detail()),
    };
    let purger = Purger::new(store.clone())
        .interval(INTERVAL)
        .observer(observer)
        .spawn();
    loop {
        sleep(QUIET / 4).await;
        ensure!(watch.elapsed() < LIMIT, "the purge takes too long");
        let failures = locked(&failures).clone();
        ensure!(failures.is_empty(), "a purge failed: {failures:?}");
        let last = locked(&batches)
            .last()
            .map_or(Duration::ZERO, |(at, _)| *at);
        if last + QUIET < watch.elapsed() && store.statistics().await?.expired == 0 {
            break;
        }
    }
    purger.stop().await;
    let batches = locked(&batches).clone();
    Ok(batches)
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seen {
    fn add_to(&self, table: &mut Table, names: &Names) -> Result<()> {
        let Self {
            before,
            purge,
            after,
            batches,
        } = self;
        let purged: usize = batches.iter().map(|(_, records)| records).sum();
        let first = batches.first().map_or(0, |(_, records)| *records);
        let seconds = purge.span.seconds();

        let mut add = |operation, callers, unit, floor: Option<f64>, ours| {
            let mut figures = Pair::default();
            if let Some(floor) = floor {
                figures.floor.add(floor);
            }
            figures.ours.add(ours);
            table.add(Row {
                operation,
                callers,
                unit,
                figures,
                bar: Bar::None,
            });
        };
        let usual = Some(before.rate()?);
        add(names.during, CALLERS, Unit::Rate, usual, purge.rate()?);
        add(names.after, CALLERS, Unit::Rate, usual, after.rate()?);
        let usual = Some(before.late()?);
        add(names.late_during, CALLERS, Unit::Time, usual, purge.late()?);
        add(names.late_after, CALLERS, Unit::Time, usual, after.late()?);
        add(names.records, CALLERS, Unit::Count, None, count(purged));
        let rate = count(purged - first) / seconds;
        add(names.rate, CALLERS, Unit::Rate, None, rate);
        add(names.time, CALLERS, Unit::Time, None, seconds * 1e9);
        Ok(())
    }
}
