//! The tests whose every step a scheduler chooses.

use std::env;

use anyhow::Result;

use crate::process::{cargo, run as run_command};
use crate::workspace::Workspace;

/// How many schedules each test explores in either way.
const QUICK: u32 = 300;
const FULL: u32 = 5_000;

/// Builds the core with the scheduler's locks, apart from all that is built without, and explores.
pub(super) fn run(is_full: bool) -> Result<()> {
    let schedules = if is_full { FULL } else { QUICK };
    let target = Workspace::load()?.target.join("interleavings");
    let flags = env::var("RUSTFLAGS").map_or_else(|_| String::new(), |flags| flags + " ");
    let mut command = cargo([
        "test",
        "--package",
        "idempotent-core",
        "--lib",
        "--target-dir",
    ]);
    command
        .arg(target)
        .args(["interleavings::", "--", "--nocapture", "--test-threads=1"])
        .env("RUSTFLAGS", format!("{flags}--cfg shuttle"))
        .env("IDEMPOTENT_SCHEDULES", schedules.to_string())
        // Controls panic, as they should.
        .env("RUST_BACKTRACE", "0");
    run_command(&mut command)
}
