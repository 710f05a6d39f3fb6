//! Runs, one after the other, and what came of them.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::ValueEnum;
use tokio::runtime::Runtime;
use verification::{
    Control, Mode, Report, Setup, StoreKind, controls, cut, kill, race, reconnect, restart, stop,
    table,
};

/// The kinds of chaos.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Cut,
    Kill,
    Race,
    Reconnect,
    Restart,
    Stop,
}

/// How many rounds of each kind.
#[derive(Clone, Copy, Debug)]
struct Rounds {
    race: u64,
    kill: u64,
    stop: u64,
    cut: u64,
    reconnect: u64,
    restart: u64,
    control: u64,
}

const QUICK: Rounds = Rounds {
    race: 30,
    kill: 100,
    stop: 60,
    cut: 80,
    reconnect: 40,
    restart: 6,
    control: 40,
};
const FULL: Rounds = Rounds {
    race: 1_000,
    kill: 1_500,
    stop: 500,
    cut: 1_500,
    reconnect: 500,
    restart: 100,
    control: 200,
};

impl Kind {
    const ALL: [Self; 6] = [
        Self::Race,
        Self::Kill,
        Self::Stop,
        Self::Cut,
        Self::Reconnect,
        Self::Restart,
    ];

    const fn rounds(self, of: &Rounds) -> u64 {
        match self {
            Self::Cut => of.cut,
            Self::Kill => of.kill,
            Self::Race => of.race,
            Self::Reconnect => of.reconnect,
            Self::Restart => of.restart,
            Self::Stop => of.stop,
        }
    }

    /// On which stores and in which modes it says something.
    pub(crate) fn variants(self) -> Vec<(StoreKind, Mode)> {
        let (stores, modes): (&[_], &[_]) = match self {
            // Nobody falls silent in a race.
            Self::Race => (
                &[StoreKind::Memory, StoreKind::Redis, StoreKind::Sqlite],
                &[Mode::Rerun],
            ),
            Self::Kill | Self::Stop => (
                &[StoreKind::Redis, StoreKind::Sqlite],
                &[Mode::Rerun, Mode::InDoubt],
            ),
            Self::Reconnect => (&[StoreKind::Redis], &[Mode::Rerun]),
            // A file has neither connections nor a server.
            Self::Cut | Self::Restart => (&[StoreKind::Redis], &[Mode::Rerun, Mode::InDoubt]),
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
        rounds: u64,
        control: Option<Control>,
    ) -> Result<()> {
        let setup = Setup::new(&self.program, store, rounds, self.seed)
            .mode(mode)
            .control(control)
            .progress(true);
        let report = self.runtime.block_on(async {
            match kind {
                Kind::Cut => cut::run(setup).await,
                Kind::Kill => kill::run(setup).await,
                Kind::Race => race::run(setup).await,
                Kind::Reconnect => reconnect::run(setup).await,
                Kind::Restart => restart::run(setup).await,
                Kind::Stop => stop::run(setup).await,
            }
        })?;
        self.reports.push(report);
        Ok(())
    }

    /// Prints the table, and returns whether all runs were good.
    pub(crate) fn end(self) -> Result<bool> {
        if self.reports.is_empty() {
            bail!("this kind of run says nothing about that store in that mode");
        }
        println!("\n{}", table(&self.reports));
        Ok(self.reports.iter().all(Report::is_good))
    }

    /// Every kind on every store, and the controls.
    pub(crate) fn all(mut self, full: bool) -> Result<bool> {
        let rounds = if full { FULL } else { QUICK };
        for kind in Kind::ALL {
            for (store, mode) in kind.variants() {
                self.run(kind, store, mode, kind.rounds(&rounds), None)?;
            }
        }
        let mut found = Vec::new();
        for control in Control::value_variants() {
            for store in [StoreKind::Redis, StoreKind::Sqlite] {
                let setup = Setup::new(&self.program, store, rounds.control, self.seed)
                    .control(Some(*control))
                    .progress(true);
                let report = self.runtime.block_on(controls::run(setup))?;
                found.push((*control, report));
            }
        }
        let is_good = self.end()?;
        println!("Stores that are broken on purpose:");
        let mut all_found = true;
        for (control, report) in &found {
            let is_found = control.is_found(report);
            all_found &= is_found;
            println!(
                "  {}: {} violations: {}",
                report.on,
                report.violations.len(),
                if is_found {
                    "found out"
                } else {
                    "NOT FOUND OUT"
                }
            );
        }
        Ok(is_good && all_found)
    }
}
