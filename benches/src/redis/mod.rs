//! The Redis store, through the attribute, and what it costs the server.

mod floor;
mod gate;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, ensure};
use idempotency::Engine;
use idempotency::redis::RedisStore;
use idempotent_testkit::server::{CommandStats, RedisServer};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use self::floor::Floor;
use self::gate::{Gate, GatedDesk};
use crate::args::Args;
use crate::orders::{Desk, Order, Ours, Taken, orders, receipt_text, threads};
use crate::progress::Progress;
use crate::rounds::{Figures, Pair, count};
use crate::table::{Bar, Row, Table, Unit};

const RESULT_BYTES: usize = 200;
/// Callers at a time, and the calls of a round.
const LOADS: [(usize, usize); 2] = [(1, 500), (64, 64 * 100)];
/// Callers at a time, and how often in a round they come, when the server's work is measured.
const WAVES: [(u32, usize); 2] = [(1, 1_000), (64, 300)];
/// Commands that run others, whose time is part of theirs.
const SCRIPTS: [&str; 3] = ["eval", "evalsha", "fcall"];
/// Commands of this program, rather than of a call.
const BOOKKEEPING: [&str; 5] = ["client", "config", "hello", "info", "time"];

pub(crate) fn measure(args: &Args, progress: &Progress, table: &mut Table) -> Result<()> {
    let bench = Bench::start()?;
    bench.throughput(args, progress, table)?;
    bench.server_work(args, progress, table)
}

/// Calls in a second, and this program's work for each.
#[derive(Default)]
struct Rates {
    rate: Pair,
    work: Pair,
}

impl Rates {
    fn add(&mut self, floor: Taken, ours: Taken) {
        self.rate.floor.add(floor.rate());
        self.rate.ours.add(ours.rate());
        self.work.floor.add(floor.work());
        self.work.ours.add(ours.work());
    }

    fn tell(self, [rate, work]: [&'static str; 2], callers: usize, table: &mut Table) {
        table.add(Row {
            operation: rate,
            callers,
            unit: Unit::Rate,
            figures: self.rate,
            bar: Bar::RatioAtLeast(0.9),
        });
        table.add(Row {
            operation: work,
            callers,
            unit: Unit::Time,
            figures: self.work,
            bar: Bar::None,
        });
    }
}

struct Bench {
    floor: Floor,
    ours: Ours,
    // Its tasks serve the connections.
    runtime: Runtime,
    server: RedisServer,
}

impl Bench {
    fn start() -> Result<Self> {
        let (runtime, server) = (threads(2)?, RedisServer::start()?);
        let text = receipt_text(RESULT_BYTES);
        let floor = runtime.block_on(Floor::connect(server.url(), text))?;
        let store = runtime.block_on(RedisStore::connect(server.url()))?;
        Ok(Self {
            floor,
            ours: Ours::new(Engine::new(store), text),
            runtime,
            server,
        })
    }

    fn throughput(&self, args: &Args, progress: &Progress, table: &mut Table) -> Result<()> {
        for (callers, calls) in LOADS {
            let (mut first, mut replay) = (Rates::default(), Rates::default());
            let orders = orders(0, calls);
            for round in progress.rounds("redis, calls in a second", args.rounds(60)) {
                let floor = || self.both(&self.floor, &orders, callers);
                let ours = || self.both(&self.ours, &orders, callers);
                // Neither always finds what the other has left behind.
                let (floor, ours) = if round % 2 == 0 {
                    (floor()?, ours()?)
                } else {
                    let ours = ours()?;
                    (floor()?, ours)
                };
                first.add(floor[0], ours[0]);
                replay.add(floor[1], ours[1]);
            }
            first.tell(
                ["redis, 200 B: first call", "redis, client time: first call"],
                callers,
                table,
            );
            replay.tell(
                ["redis, 200 B: replay", "redis, client time: replay"],
                callers,
                table,
            );
        }
        Ok(())
    }

    /// First calls, and then replays.
    fn both(&self, desk: &impl Desk, orders: &[Order], callers: usize) -> Result<[Taken; 2]> {
        self.empty()?;
        let take = || Taken::all(&self.runtime, desk, orders, callers);
        Ok([take()?, take()?])
    }

    /// Both begin with an empty server: one that grows works more.
    fn empty(&self) -> Result<()> {
        self.server.ask(&["FLUSHALL", "SYNC"])?;
        Ok(())
    }

    fn server_work(&self, args: &Args, progress: &Progress, table: &mut Table) -> Result<()> {
        for (callers, waves) in WAVES {
            let (mut first, mut replay) = (Pair::default(), Pair::default());
            for _ in progress.rounds("redis, the server's work", args.rounds(9)) {
                self.add_work(
                    &self.floor,
                    callers,
                    waves,
                    [&mut first.floor, &mut replay.floor],
                )?;
                self.add_work(
                    &self.ours,
                    callers,
                    waves,
                    [&mut first.ours, &mut replay.ours],
                )?;
            }
            for (operation, figures, bar) in [
                ("redis, server time: first call", first, 1.3),
                ("redis, server time: replay", replay, 1.2),
            ] {
                table.add(Row {
                    operation,
                    callers: usize::try_from(callers)?,
                    unit: Unit::Time,
                    figures,
                    bar: Bar::RatioAtMost(bar),
                });
            }
        }
        Ok(())
    }

    /// Adds the server's nanoseconds for each call.
    fn add_work(
        &self,
        desk: &impl GatedDesk,
        callers: u32,
        waves: usize,
        [first, replay]: [&mut Figures; 2],
    ) -> Result<()> {
        self.empty()?;
        let (mut first_micros, mut replay_micros) = (0, 0);
        for wave in 0..waves {
            let size = usize::try_from(callers)?;
            let orders = orders(wave * size, size);
            self.server.reset_command_stats()?;
            let gate = Arc::new(Gate::new());
            let tasks = self.send(desk, Some(&gate), &orders);
            self.runtime.block_on(gate.wait_for(callers))?;
            first_micros += self.work(callers)?;
            gate.open(callers);
            self.runtime.block_on(finish(tasks))?;
            first_micros += self.work(callers)?;
            let tasks = self.send(desk, None, &orders);
            self.runtime.block_on(finish(tasks))?;
            replay_micros += self.work(callers)?;
        }
        let nanos = |micros: u64| {
            let calls = f64::from(callers) * count(waves);
            u32::try_from(micros).map(|micros| f64::from(micros) * 1e3 / calls)
        };
        first.add(nanos(first_micros)?);
        replay.add(nanos(replay_micros)?);
        Ok(())
    }

    fn send(
        &self,
        desk: &impl GatedDesk,
        gate: Option<&Arc<Gate>>,
        orders: &[Order],
    ) -> JoinSet<Result<()>> {
        let mut tasks = JoinSet::new();
        for order in orders.iter().cloned() {
            let (desk, gate) = (desk.clone(), gate.cloned());
            let take = async move { desk.take_through(gate.as_deref(), order).await.map(drop) };
            tasks.spawn_on(take, self.runtime.handle());
        }
        tasks
    }

    /// The server's microseconds for `calls` calls that cost one command each, since it was last asked.
    fn work(&self, calls: u32) -> Result<u64> {
        let stats = self.server.command_stats()?;
        self.server.reset_command_stats()?;
        let top = top_level(&stats);
        let commands: u64 = top.iter().map(|(_, stats)| stats.calls).sum();
        ensure!(
            commands == u64::from(calls),
            "{calls} calls cost the commands {top:?}"
        );
        Ok(top.iter().map(|(_, stats)| stats.micros).sum())
    }
}

async fn finish(mut tasks: JoinSet<Result<()>>) -> Result<()> {
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// The commands that clients have sent; those that scripts have called are in their scripts' time.
fn top_level(stats: &BTreeMap<String, CommandStats>) -> Vec<(&str, CommandStats)> {
    let is_script = |name: &str| SCRIPTS.contains(&name);
    let has_script = stats.keys().any(|name| is_script(name));
    stats
        .iter()
        .map(|(name, stats)| (name.as_str(), *stats))
        .filter(|(name, _)| {
            let family = name.split('|').next().unwrap_or(name);
            !BOOKKEEPING.contains(&family) && (!has_script || is_script(name))
        })
        .collect()
}
