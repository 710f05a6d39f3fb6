//! `cargo xtask verify`: kills, stops, cuts off and restarts, and judges what came of it.

use anyhow::Result;
use clap::Args;

use crate::{
    process::{cargo, run as run_command},
    tools,
};

/// How much to verify.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// A few rounds of each kind, in a minute or two. This is what happens by default.
    #[arg(long)]
    quick: bool,

    /// A thousand rounds and more of each kind.
    #[arg(long, conflicts_with = "quick")]
    full: bool,

    /// What the rounds are drawn from, to plan those of an earlier run again.
    #[arg(long)]
    seed: Option<u64>,
}

pub(crate) fn run(args: &VerifyArgs) -> Result<()> {
    tools::ensure_installed()?;
    let mut command = cargo(["run", "--package", "verification"]);
    if args.quick || !args.full {
        command.args(["--", "all"]);
    } else {
        // More of the time goes by in the stores, and less in the harness.
        command.args(["--release", "--", "all", "--full"]);
    }
    if let Some(seed) = args.seed {
        command.arg(format!("--seed={seed}"));
    }
    run_command(&mut command)
}
