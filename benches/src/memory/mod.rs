//! The memory store, through the attribute.

mod floor;

use anyhow::Result;
use idempotency::{Engine, Inspect, MemoryStore};
use tokio::runtime::Runtime;

use self::floor::Floor;
use crate::args::Args;
use crate::orders::{
    Desk, Order, Ours, Taken, one_by_one, one_thread, orders, receipt_text, threads,
};
use crate::progress::Progress;
use crate::rounds::{Figures, Pair, count};
use crate::table::{Bar, Row, Table, Unit};

const RESULT_BYTES: usize = 1024;
/// Records that are there before anything is measured, so that maps have grown and memory is warm.
const SETTLED: usize = 2_000;
const BATCH: usize = 100;
const BATCHES: usize = 10;
const CALLERS: usize = 64;
const CALLS: usize = CALLERS * 200;
const CORES: usize = 2;

pub(crate) fn measure(args: &Args, progress: &Progress, table: &mut Table) -> Result<()> {
    one_caller(args, progress, table)?;
    many_callers(args, progress, table)
}

/// What the toolkit takes orders with, and where it keeps them.
struct Counter {
    desk: Ours,
    store: MemoryStore,
}

impl Counter {
    fn new(text: &'static str, near_cache: Option<usize>) -> Self {
        let store = MemoryStore::new();
        let mut engine = Engine::builder(store.clone());
        if let Some(records) = near_cache {
            engine = engine.near_cache(records);
        }
        let desk = Ours::new(engine.build(), text);
        Self { desk, store }
    }

    async fn forget(&self, orders: &[Order]) -> Result<()> {
        for order in orders {
            _ = self.store.delete(&order.key()?).await?;
        }
        Ok(())
    }
}

fn one_caller(args: &Args, progress: &Progress, table: &mut Table) -> Result<()> {
    let runtime = one_thread()?;
    let text = receipt_text(RESULT_BYTES);
    let (floor, ours) = (Floor::new(text), Counter::new(text, None));
    let near = Counter::new(text, Some(SETTLED * 2));
    let (mut first, mut replay) = (Pair::default(), Pair::default());
    let mut from_near = Pair::default();
    runtime.block_on(async {
        let settled = orders(0, SETTLED);
        one_by_one(&floor, settled.clone()).await?;
        one_by_one(&ours.desk, settled.clone()).await?;
        one_by_one(&near.desk, settled).await?;
        let measured = orders(SETTLED, BATCH * BATCHES);
        for _ in progress.rounds("memory, 1 caller", args.rounds(300)) {
            for batch in measured.chunks(BATCH) {
                time(&floor, batch, &mut first.floor).await?;
                time(&ours.desk, batch, &mut first.ours).await?;
                one_by_one(&near.desk, batch.to_vec()).await?;
                time(&floor, batch, &mut replay.floor).await?;
                time(&ours.desk, batch, &mut replay.ours).await?;
                time(&near.desk, batch, &mut from_near.ours).await?;
            }
            // As if their time were over, so that neither grows.
            floor.forget(&measured);
            ours.forget(&measured).await?;
        }
        anyhow::Ok(())
    })?;
    from_near.floor = replay.floor.clone();
    let row = |operation, figures, bar| Row {
        operation,
        callers: 1,
        unit: Unit::Time,
        figures,
        bar,
    };
    table.add(row("memory, 1 KiB: first call", first, Bar::AtMost(1000.0)));
    table.add(row("memory, 1 KiB: replay", replay, Bar::AtMost(500.0)));
    table.add(row(
        "near cache, 1 KiB: replay",
        from_near,
        Bar::AtMost(500.0),
    ));
    Ok(())
}

async fn time(desk: &impl Desk, batch: &[Order], figures: &mut Figures) -> Result<()> {
    let elapsed = one_by_one(desk, batch.to_vec()).await?;
    figures.add_time(elapsed, batch.len());
    Ok(())
}

fn many_callers(args: &Args, progress: &Progress, table: &mut Table) -> Result<()> {
    let (one_core, all_cores) = (threads(1)?, threads(CORES)?);
    let text = receipt_text(RESULT_BYTES);
    let (mut first, mut replay, mut scaling) = (Pair::default(), Pair::default(), Pair::default());
    let orders = orders(0, CALLS);
    for _ in progress.rounds("memory, 64 callers", args.rounds(60)) {
        let on = |cores: &Runtime| {
            let floor = Both::of(cores, &Floor::new(text), &orders)?;
            let ours = Both::of(cores, &Counter::new(text, None).desk, &orders)?;
            anyhow::Ok((floor, ours))
        };
        let (floor_alone, ours_alone) = on(&one_core)?;
        let (floor, ours) = on(&all_cores)?;
        first.floor.add(floor.first.rate());
        first.ours.add(ours.first.rate());
        replay.floor.add(floor.replay.rate());
        replay.ours.add(ours.replay.rate());
        scaling.floor.add(floor.scaling(&floor_alone));
        scaling.ours.add(ours.scaling(&ours_alone));
    }
    let row = |operation, unit, figures, bar| Row {
        operation,
        callers: CALLERS,
        unit,
        figures,
        bar,
    };
    table.add(row(
        "memory, 1 KiB: first call",
        Unit::Rate,
        first,
        Bar::None,
    ));
    table.add(row("memory, 1 KiB: replay", Unit::Rate, replay, Bar::None));
    table.add(row(
        "memory, 1 KiB: first calls, 2 cores against 1",
        Unit::Times,
        scaling,
        Bar::AtLeast(1.6),
    ));
    Ok(())
}

/// First calls, and then replays.
struct Both {
    first: Taken,
    replay: Taken,
}

impl Both {
    fn of(cores: &Runtime, desk: &impl Desk, orders: &[Order]) -> Result<Self> {
        Ok(Self {
            first: Taken::all(cores, desk, orders, CALLERS)?,
            replay: Taken::all(cores, desk, orders, CALLERS)?,
        })
    }

    /// How many times as many first calls all cores make as one, by the work that each call makes them
    /// do. Unlike the time on the wall, that is the same whether other programs want the cores as well.
    fn scaling(&self, alone: &Self) -> f64 {
        count(CORES) * alone.first.work() / self.first.work()
    }
}
