//! `cargo xtask verify`: what shows that the promises hold. `VERIFICATION.md` tells what each kind does.

mod fuzz;
mod interleavings;
mod mutants;

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use crate::{
    clock::{Stopwatch, in_words},
    process::{cargo, run as run_command},
    tools,
};

/// What to verify, and how much of it.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct VerifyArgs {
    /// Which kinds; if none is named, all but `mutants`, which takes hours.
    kinds: Vec<Kind>,

    /// A few rounds of each kind, in a few minutes. This is what happens by default.
    #[arg(long)]
    quick: bool,

    /// Thousands of rounds of each kind, in about an hour.
    #[arg(long, conflicts_with = "quick")]
    full: bool,

    /// What the rounds are drawn from, to plan those of an earlier run again.
    #[arg(long)]
    seed: Option<u64>,

    /// Of `fuzz`: this target alone. May be given more than once.
    #[arg(long = "target")]
    targets: Vec<String>,

    /// Of `fuzz`: for how many seconds to run each target.
    #[arg(long)]
    seconds: Option<u32>,
}

/// The kinds. Chaos goes by the names that the program `verification` has for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Kind {
    /// Everything that can happen to a few calls, in a model of the protocol.
    Model,
    /// A few threads under many schedules.
    Interleavings,
    /// Clients and a server on a simulated network.
    Sim,
    /// 64 callers of one key at once.
    Race,
    /// `kill -9` of an owner.
    Kill,
    /// SIGSTOP of an owner until its lease is over.
    Stop,
    /// A body that blocks its runtime until its lease is over.
    Blocked,
    /// Connections that break in the middle of a call.
    Cut,
    /// Connections that break while they are made.
    Reconnect,
    /// A server that is killed, and comes back.
    Restart,
    /// A server that is killed, and a replica that takes its place.
    Failover,
    /// A server that evicts the records of running owners.
    Evict,
    /// A server, or a file, that has no room.
    Full,
    /// Processes that are killed and stopped in the middle of a transaction.
    Transaction,
    /// What is broken on purpose, and has to be found out.
    Controls,
    /// Inputs that make a parser panic, or say the wrong thing.
    Fuzz,
    /// Small faults in the protocol and the engine, which a test has to notice.
    Mutants,
}

/// What came of one part.
#[derive(Debug)]
struct Part {
    name: &'static str,
    time: Duration,
    result: Result<()>,
}

/// Runs the parts that were asked for, all of them even if one fails.
pub(crate) fn run(args: &VerifyArgs) -> Result<()> {
    let chaos: Vec<Kind> = args.chosen().filter(|kind| kind.is_chaos()).collect();
    let mut parts = Vec::new();
    for kind in args.chosen().filter(|kind| !kind.is_chaos()) {
        parts.push(Part::run(kind.name(), || match kind {
            Kind::Fuzz => fuzz::run(&args.targets, args.fuzz_seconds()),
            Kind::Interleavings => interleavings::run(args.full),
            Kind::Mutants => mutants::run(),
            kind => args.explore(kind),
        }));
    }
    if !chaos.is_empty() {
        parts.push(Part::run("chaos", || args.chaos(&chaos)));
    }
    println!("\n{}", table(&parts));
    let failed = parts.iter().filter(|part| part.result.is_err()).count();
    ensure!(failed == 0, "{failed} of {} parts failed", parts.len());
    Ok(())
}

impl VerifyArgs {
    fn chosen(&self) -> impl Iterator<Item = Kind> {
        let all = self.kinds.is_empty();
        let kinds = Kind::value_variants().iter().copied();
        kinds.filter(move |kind| match kind {
            Kind::Mutants if all => false,
            kind => all || self.kinds.contains(kind),
        })
    }

    fn fuzz_seconds(&self) -> u32 {
        self.seconds.unwrap_or(if self.full { 60 } else { 3 })
    }

    /// Runs a part in which nothing real happens.
    fn explore(&self, kind: Kind) -> Result<()> {
        let seed = self.seed.filter(|_| kind == Kind::Sim);
        self.verification(&[kind.name()], seed)
    }

    fn chaos(&self, kinds: &[Kind]) -> Result<()> {
        tools::ensure_installed()?;
        let names = kinds.iter().map(|kind| kind.name());
        let task: Vec<_> = ["chaos"].into_iter().chain(names).collect();
        self.verification(&task, self.seed)
    }

    /// Runs the program `verification`. Ten times as fast when it is optimised.
    fn verification(&self, task: &[&str], seed: Option<u64>) -> Result<()> {
        let mut command = cargo(["run", "--release", "--package", "verification", "--"]);
        command.args(task);
        if self.full {
            command.arg("--full");
        }
        if let Some(seed) = seed {
            command.arg(format!("--seed={seed}"));
        }
        run_command(&mut command)
    }
}

impl Kind {
    const fn is_chaos(self) -> bool {
        !matches!(
            self,
            Self::Fuzz | Self::Interleavings | Self::Model | Self::Mutants | Self::Sim
        )
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Interleavings => "interleavings",
            Self::Sim => "sim",
            Self::Race => "race",
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Blocked => "blocked",
            Self::Cut => "cut",
            Self::Reconnect => "reconnect",
            Self::Restart => "restart",
            Self::Failover => "failover",
            Self::Evict => "evict",
            Self::Full => "full",
            Self::Transaction => "transaction",
            Self::Controls => "controls",
            Self::Fuzz => "fuzz",
            Self::Mutants => "mutants",
        }
    }
}

impl Part {
    fn run(name: &'static str, run: impl FnOnce() -> Result<()>) -> Self {
        let watch = Stopwatch::start();
        let result = run();
        if let Err(error) = &result {
            eprintln!("{name}: {error:#}");
        }
        Self {
            name,
            time: watch.elapsed(),
            result,
        }
    }
}

fn table(parts: &[Part]) -> String {
    let mut lines = vec![format!("{:<14} {:<7} {:>13}", "part", "result", "time")];
    lines.extend(parts.iter().map(|part| {
        let result = if part.result.is_ok() {
            "good"
        } else {
            "FAILED"
        };
        let time = in_words(part.time);
        format!("{:<14} {result:<7} {time:>13}", part.name)
    }));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_name() {
        for kind in Kind::value_variants() {
            let value = kind.to_possible_value().unwrap();
            assert_eq!(value.get_name(), kind.name());
        }
    }

    #[test]
    fn all_kinds_are_chosen_if_none_is_named() {
        let all = VerifyArgs::default();
        assert_eq!(all.chosen().count(), Kind::value_variants().len() - 1);
        let kinds = vec![Kind::Kill, Kind::Sim];
        let some = VerifyArgs { kinds, ..all };
        let chosen: Vec<_> = some.chosen().collect();
        assert_eq!(chosen, [Kind::Sim, Kind::Kill]);
    }
}
