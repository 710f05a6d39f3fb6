//! The tasks of the project, run as `cargo xtask <task>`.
//!
//! A task does nothing that cannot be done by hand: it prints each command before it runs it, so
//! that a failed one can be copied and run alone.

mod bench;
mod clock;
mod process;
mod test;
mod tools;
mod verify;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The tasks of the project.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Runs every check of the project, as CI does, and installs what they need.
    Test(test::TestArgs),
    /// Measures the stores side by side against a floor written by hand.
    Bench(bench::BenchArgs),
    /// Shows that the promises hold: a model, simulations, chaos on real servers, fuzzing, mutants.
    Verify(verify::VerifyArgs),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Test(args) => test::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Verify(args) => verify::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\n{error:#}");
            ExitCode::FAILURE
        }
    }
}
