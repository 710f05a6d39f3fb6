//! `cargo xtask verify`: kills, stops, cuts off and restarts, and judges what came of it.

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::{
    process::{cargo, run as run_command},
    tools,
};

/// What to verify, and how much of it.
#[derive(Debug, Default, Args)]
pub(crate) struct VerifyArgs {
    /// Which kinds; all if none is named.
    kinds: Vec<Kind>,

    /// A few rounds of each kind, in a few minutes. This is what happens by default.
    #[arg(long)]
    quick: bool,

    /// Thousands of rounds of each kind, in less than an hour.
    #[arg(long, conflicts_with = "quick")]
    full: bool,

    /// What the rounds are drawn from, to plan those of an earlier run again.
    #[arg(long)]
    seed: Option<u64>,

    /// One kind of run alone, and how: `sim --seeds 1000`, `kill --store redis`. `help` lists them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    kind: Vec<String>,
}

/// The kinds of chaos, under the names that the program `verification` has for them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Kind {
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
    /// Stores that are broken on purpose, and have to be found out.
    Controls,
}

pub(crate) fn run(args: &VerifyArgs) -> Result<()> {
    if !args.kind.is_empty() {
        return run_command(cargo(["run", "--package", "verification", "--"]).args(&args.kind));
    }
    tools::ensure_installed()?;
    let mut command = cargo(["run", "--package", "verification"]);
    if args.full {
        // More of the time goes by in the stores, and less in the harness.
        command.args(["--release", "--", "chaos", "--full"]);
    } else {
        command.args(["--", "chaos"]);
    }
    command.args(args.kinds.iter().map(|kind| kind.name()));
    if let Some(seed) = args.seed {
        command.arg(format!("--seed={seed}"));
    }
    run_command(&mut command)
}

impl Kind {
    fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}
