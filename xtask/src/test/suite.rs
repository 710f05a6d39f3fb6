//! The tests themselves.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Outcome;
use crate::process::{Stream, cargo, run, run_watched, succeeds};

/// A test that hangs must not hang CI. Building the tests counts too.
const LIMIT: Duration = Duration::from_secs(45 * 60);

/// What both runners are told to run: all targets that have tests, and no documentation.
const SELECTION: [&str; 4] = ["--workspace", "--all-features", "--tests", "--no-fail-fast"];

/// Runs the tests with cargo-nextest, or with `cargo test` where it is not installed.
///
/// Both run the same tests. A test must not care whether it has a process to itself, as with
/// nextest, or shares one.
pub(super) fn tests() -> Result<Outcome> {
    if succeeds(&mut cargo(["nextest", "--version"])) {
        let mut command = cargo(["nextest", "run"]);
        let output = run_watched(command.args(SELECTION), Stream::Stderr, LIMIT)?;
        let summary = output
            .lines()
            .rfind(|line| line.trim_start().starts_with("Summary ["));
        let summary = summary.context("cargo-nextest printed no summary")?;
        Ok(Outcome::Passed(Some(summary.to_owned())))
    } else {
        println!("cargo-nextest is not installed; `cargo test` runs the same tests");
        let mut command = cargo(["test"]);
        let output = run_watched(command.args(SELECTION), Stream::Stdout, LIMIT)?;
        let totals = Totals::of(&output);
        ensure!(totals.passed > 0, "`cargo test` ran no test");
        Ok(Outcome::Passed(Some(totals.line())))
    }
}

pub(super) fn doctests() -> Result<Outcome> {
    run(&mut cargo([
        "test",
        "--doc",
        "--workspace",
        "--all-features",
        "--no-fail-fast",
    ]))?;
    Ok(Outcome::Passed(None))
}

/// The sum of what the test binaries report.
#[derive(Debug, Default, Eq, PartialEq)]
struct Totals {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Totals {
    /// Adds up lines like `test result: ok. 5 passed; 0 failed; 1 ignored; ..`.
    fn of(output: &str) -> Self {
        let mut totals = Self::default();
        let results = output
            .lines()
            .filter_map(|line| line.strip_prefix("test result: "));
        for part in results.flat_map(|result| result.split([';', '.'])) {
            match part.trim().split_once(' ') {
                Some((count, "passed")) => totals.passed += count.parse().unwrap_or(0),
                Some((count, "failed")) => totals.failed += count.parse().unwrap_or(0),
                Some((count, "ignored")) => totals.ignored += count.parse().unwrap_or(0),
                _ => {}
            }
        }
        totals
    }

    fn line(&self) -> String {
        format!(
            "tests: {} passed, {} failed, {} skipped",
            self.passed, self.failed, self.ignored
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_all_binaries_are_added_up() {
        let output = "\
running 6 tests
test a ... ok
test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s
test result: ok. 37 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s
";
        assert_eq!(
            Totals::of(output).line(),
            "tests: 42 passed, 0 failed, 1 skipped"
        );
        assert_eq!(Totals::of("no test"), Totals::default());
    }
}
