//! Makes small faults in the protocol and in the engine, one at a time,
//! and looks whether a test notices.
//!
//! What is examined, and which faults are accepted for which reason, stands in `.cargo/mutants.toml`.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::process::{cargo, complete, root, run as run_command, succeeds};

/// Runs `cargo mutants` on a copy of the workspace, and installs it if it is missing.
pub(super) fn run() -> Result<()> {
    if !succeeds(&mut cargo(["mutants", "--version"])) {
        run_command(&mut cargo(["install", "cargo-mutants", "--locked"]))?;
    }
    // A fault that makes a test hang fails the command, and yet was noticed.
    complete(&mut cargo(["mutants", "--jobs", "1", "--output", "target"]))?;
    let outcomes = root().join("target/mutants.out");
    let read = |name: &str| {
        let path = outcomes.join(name);
        fs::read_to_string(&path).with_context(|| format!("there is no `{}`", path.display()))
    };
    let missed = read("missed.txt")?;
    ensure!(missed.is_empty(), "no test notices these faults:\n{missed}");
    let count = |text: &str| text.lines().count();
    println!(
        "{} faults, and a test notices each of them",
        count(&read("caught.txt")?) + count(&read("timeout.txt")?)
    );
    Ok(())
}
