//! The `SQLite` store, through the attribute, on a real disk.

mod floor;

use anyhow::Result;
use idempotency::Engine;
use idempotency::sqlite::SqliteStore;
use tokio::runtime::Runtime;

use self::floor::{Alone, Grouped};
use crate::args::Args;
use crate::orders::{Desk, Order, Ours, Taken, orders, receipt_text, threads};
use crate::progress::Progress;
use crate::rounds::{Figures, Pair};
use crate::table::{Bar, Row, Table, Unit};

const RESULT_BYTES: usize = 200;

/// How many callers there are, and what they do in a round.
#[derive(Clone, Copy)]
struct Load {
    callers: usize,
    orders: usize,
    /// How often each order is taken again.
    replays: usize,
}

const ALONE: Load = Load {
    callers: 1,
    orders: 40,
    replays: 50,
};
const TOGETHER: Load = Load {
    callers: 64,
    orders: 64 * 20,
    replays: 5,
};

pub(crate) fn measure(args: &Args, progress: &Progress, table: &mut Table) -> Result<()> {
    // Goes last, when nothing in it is open.
    let directory = tempfile::tempdir()?;
    let text = receipt_text(RESULT_BYTES);
    let path = |name| directory.path().join(name);
    let bench = Bench {
        ours: Ours::new(Engine::new(SqliteStore::open(path("ours.db"))?), text),
        runtime: threads(2)?,
    };
    let alone = Alone::open(&path("alone.db"), text)?;
    bench.measure(ALONE, &alone, args, progress, table)?;
    let grouped = Grouped::open(&path("grouped.db"), text)?;
    bench.measure(TOGETHER, &grouped, args, progress, table)
}

struct Bench {
    ours: Ours,
    runtime: Runtime,
}

impl Bench {
    fn measure(
        &self,
        load: Load,
        floor: &impl Desk,
        args: &Args,
        progress: &Progress,
        table: &mut Table,
    ) -> Result<()> {
        let (mut first, mut replay) = (Pair::default(), Pair::default());
        for round in progress.rounds("sqlite", args.rounds(15)) {
            let orders = orders(load.callers * 1_000_000 + round * load.orders, load.orders);
            self.add_rates(floor, load, &orders, [&mut first.floor, &mut replay.floor])?;
            self.add_rates(
                &self.ours,
                load,
                &orders,
                [&mut first.ours, &mut replay.ours],
            )?;
        }
        for (operation, figures) in [
            ("sqlite, 200 B: first call", first),
            ("sqlite, 200 B: replay", replay),
        ] {
            table.add(Row {
                operation,
                callers: load.callers,
                unit: Unit::Rate,
                figures,
                bar: Bar::None,
            });
        }
        Ok(())
    }

    /// Adds how many first calls there are in a second, and how many replays.
    fn add_rates(
        &self,
        desk: &impl Desk,
        load: Load,
        orders: &[Order],
        [first, replay]: [&mut Figures; 2],
    ) -> Result<()> {
        let rate = |orders: &[Order]| {
            Taken::all(&self.runtime, desk, orders, load.callers).map(Taken::rate)
        };
        first.add(rate(orders)?);
        let again = (0..load.replays).flat_map(|_| orders.iter().cloned());
        replay.add(rate(&again.collect::<Vec<_>>())?);
        Ok(())
    }
}
