//! `cargo xtask bench`: measures the stores.

use anyhow::Result;
use clap::Args;

use crate::{
    process::{cargo, run as run_command},
    tools,
};

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// What the program `benches` is told; `cargo xtask bench -- --help` shows what it takes.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    tools::ensure_installed()?;
    run_command(cargo(["run", "--release", "--package", "benches", "--"]).args(&args.args))
}
