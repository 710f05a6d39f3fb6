//! Runs, one after the other, and what came of them.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::ValueEnum;
use tokio::runtime::Runtime;
use verification::{
    Control, Mode, Report, Setup, StoreKind, blocked, controls, cut, evict, failover, full, kill,
    race, reconnect, restart, sim, stop, summary, table, transaction,
};

/// The kinds of chaos, in the order in which they run.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Kind {
    /// 64 callers of one key at once, in one process and in four.
    Race,
    /// `kill -9` of an owner at any moment of its call.
    Kill,
    /// SIGSTOP of an owner until its lease is over and another has taken over.
    Stop,
    /// A body that blocks its runtime until its lease is over and another has taken over.
    Blocked,
    /// Connections that break in a request, before its reply, or in the middle of it.
    Cut,
    /// Connections that break while they are made.
    Reconnect,
    /// A server that is killed, and comes back.
    Restart,
    /// A Redis primary that is killed, and a replica that takes its place.
    Failover,
    /// A Redis server that evicts the records of running owners.
    Evict,
    /// A server, or a file, that has no room.
    Full,
    /// `kill -9` and SIGSTOP in the middle of a transaction that holds rows and their record.
    Transaction,
    /// What is broken on purpose, and has to be found out.
    Controls,
}

/// How many rounds on each store and in each mode.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Amount {
    Quick,
    Full,
    Rounds(u64),
}

impl Kind {
    /// A quick run takes a few minutes for all kinds; a full one has the figures that are promised: 10,000
    /// rounds of `kill -9` on Redis, 3,000 on PostgreSQL and 2,000 on a file, over both modes; 2,320 and
    /// 1,520 in the middle of a transaction; and so on.
    const fn rounds(self, store: StoreKind, amount: Amount) -> u64 {
        let (quick, full) = if matches!(store, StoreKind::Postgres) {
            self.rounds_on_postgres()
        } else {
            self.rounds_elsewhere(matches!(store, StoreKind::Redis))
        };
        match amount {
            Amount::Quick => quick,
            Amount::Full => full,
            Amount::Rounds(rounds) => rounds,
        }
    }

    /// How many in a quick run, and in a full one. A connection is a process there.
    const fn rounds_on_postgres(self) -> (u64, u64) {
        match self {
            Self::Race => (20, 1_000),
            Self::Kill | Self::Cut => (60, 1_500),
            Self::Stop | Self::Blocked => (40, 800),
            Self::Reconnect => (40, 500),
            Self::Restart => (4, 60),
            Self::Transaction => (200, 2_900),
            Self::Controls => (120, 300),
            Self::Failover | Self::Evict | Self::Full => (0, 0),
        }
    }

    const fn rounds_elsewhere(self, on_redis: bool) -> (u64, u64) {
        match self {
            Self::Race => (30, 1_000),
            Self::Kill if on_redis => (200, 5_000),
            Self::Kill | Self::Reconnect => (60, 1_000),
            Self::Stop | Self::Blocked if on_redis => (100, 1_500),
            Self::Stop | Self::Blocked => (40, 400),
            Self::Cut => (120, 2_500),
            Self::Restart => (6, 100),
            Self::Failover => (8, 150),
            Self::Evict => (12, 200),
            Self::Full => (10, 200),
            Self::Transaction => (60, 1_900),
            Self::Controls => (120, 300),
        }
    }

    /// On which stores and in which modes it says something.
    pub(crate) fn variants(self) -> Vec<(StoreKind, Mode)> {
        use StoreKind::{Memory, Postgres, Redis, Sqlite};

        let both = &[Mode::Rerun, Mode::InDoubt];
        let (stores, modes): (&[_], &[_]) = match self {
            // Nobody falls silent in a race.
            Self::Race => (&[Memory, Redis, Sqlite, Postgres], &[Mode::Rerun]),
            Self::Kill | Self::Stop | Self::Blocked => (&[Redis, Sqlite, Postgres], both),
            // A file has neither connections nor a server.
            Self::Cut | Self::Restart => (&[Redis, Postgres], both),
            Self::Reconnect => (&[Redis, Postgres], &[Mode::Rerun]),
            // What is rolled back was not abandoned.
            Self::Transaction => (&[Sqlite, Postgres], &[Mode::Rerun]),
            Self::Controls => (&[Redis, Sqlite, Postgres], &[Mode::Rerun]),
            Self::Failover => (&[Redis], both),
            Self::Evict => (&[Redis], &[Mode::Rerun]),
            // PostgreSQL has no limit but the disk's.
            Self::Full => (&[Redis, Sqlite], &[Mode::Rerun]),
        };
        let variants = stores
            .iter()
            .flat_map(|store| modes.iter().map(|mode| (*store, *mode)));
        variants.collect()
    }
}

/// The runs so far.
#[derive(Debug)]
pub(crate) struct Suite {
    program: PathBuf,
    seed: u64,
    runtime: Runtime,
    reports: Vec<Report>,
}

impl Suite {
    pub(crate) fn start(seed: Option<u64>) -> Result<Self> {
        let seed = seed.unwrap_or_else(super::any_seed);
        println!("seed {seed}");
        Ok(Self {
            program: std::env::current_exe()?,
            seed,
            runtime: Runtime::new()?,
            reports: Vec::new(),
        })
    }

    pub(crate) fn run(
        &mut self,
        kind: Kind,
        store: StoreKind,
        mode: Mode,
        amount: Amount,
        control: Option<Control>,
    ) -> Result<()> {
        let rounds = kind.rounds(store, amount);
        let setup = Setup::new(&self.program, store, rounds, self.seed)
            .mode(mode)
            .control(control)
            .progress(true);
        let setups = match kind {
            Kind::Controls => Control::value_variants()
                .iter()
                .filter(|control| control.concerns(store))
                .map(|control| setup.clone().control(Some(*control)))
                .collect(),
            Kind::Failover => vec![setup.clone(), setup.replicated(true)],
            _ => vec![setup],
        };
        for setup in setups {
            let report = self.runtime.block_on(run(kind, setup))?;
            self.reports.push(report);
        }
        Ok(())
    }

    /// Plays `seeds` simulations.
    pub(crate) fn simulate(&mut self, seeds: u64, control: Option<Control>) -> Result<()> {
        let seeds = sim::Seeds::new(self.seed, seeds).control(control);
        self.reports.extend(sim::run(seeds.progress(true))?);
        Ok(())
    }

    /// All that happens in the first simulation.
    pub(crate) fn history(&self, control: Option<Control>) -> Result<String> {
        sim::history(self.seed, control)
    }

    /// Prints the tables, and returns whether all runs were good.
    pub(crate) fn end(self) -> Result<bool> {
        if self.reports.is_empty() {
            bail!("this kind of run says nothing about that store in that mode");
        }
        println!("\n{}\n{}", table(&self.reports), summary(&self.reports));
        Ok(self.reports.iter().all(Report::is_good))
    }
}

async fn run(kind: Kind, setup: Setup) -> Result<Report> {
    match kind {
        Kind::Race => race::run(setup).await,
        Kind::Kill => kill::run(setup).await,
        Kind::Stop => stop::run(setup).await,
        Kind::Blocked => blocked::run(setup).await,
        Kind::Cut => cut::run(setup).await,
        Kind::Reconnect => reconnect::run(setup).await,
        Kind::Restart => restart::run(setup).await,
        Kind::Failover => failover::run(setup).await,
        Kind::Evict => evict::run(setup).await,
        Kind::Full => full::run(setup).await,
        Kind::Transaction => transaction::run(setup).await,
        Kind::Controls => controls::run(setup).await,
    }
}
