//! What is said at the end.

use std::time::Duration;

use super::Outcome;
use crate::clock::{Stopwatch, in_words};

/// The steps that have run so far.
#[derive(Debug)]
pub(super) struct Report {
    watch: Stopwatch,
    steps: Vec<(&'static str, Outcome, Duration)>,
}

impl Report {
    pub(super) fn start() -> Self {
        Self {
            watch: Stopwatch::start(),
            steps: Vec::new(),
        }
    }

    /// Adds a step that did not fail, and says so.
    pub(super) fn add(&mut self, name: &'static str, outcome: Outcome, time: Duration) {
        println!("{name}: {} in {}", outcome.word(), in_words(time));
        self.steps.push((name, outcome, time));
    }

    pub(super) fn print(&self) {
        println!("\n{}", self.text(self.watch.elapsed()));
    }

    /// A table of the steps, their notes in the words of who wrote them, and one closing line.
    fn text(&self, total: Duration) -> String {
        let mut lines = vec![format!("{:<10} {:<8} {:>8}", "step", "result", "seconds")];
        lines.extend(self.steps.iter().map(|(name, outcome, time)| {
            format!(
                "{name:<10} {:<8} {:>8.1}",
                outcome.word(),
                time.as_secs_f64()
            )
        }));
        lines.push(String::new());
        lines.extend(
            self.steps
                .iter()
                .filter_map(|(name, outcome, _)| outcome.note(name)),
        );
        let passed = self
            .steps
            .iter()
            .filter(|(_, outcome, _)| outcome.has_passed())
            .count();
        let total = in_words(total);
        lines.push(format!("xtask test: all {passed} steps passed in {total}"));
        lines.join("\n")
    }
}

impl Outcome {
    fn has_passed(&self) -> bool {
        matches!(self, Self::Passed(_))
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Passed(_) => "passed",
            Self::Skipped(_) => "not run",
        }
    }

    fn note(&self, step: &str) -> Option<String> {
        match self {
            Self::Passed(note) => note.clone(),
            Self::Skipped(reason) => Some(format!("{step}: not run, {reason}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts_the_steps_that_passed() {
        let mut report = Report::start();
        report.add("fmt", Outcome::Passed(None), Duration::from_millis(400));
        report.add(
            "tests",
            Outcome::Passed(Some("5 passed, 0 failed".into())),
            Duration::ZERO,
        );
        report.add(
            "deny",
            Outcome::Skipped("cargo-deny is missing".into()),
            Duration::ZERO,
        );
        let expected = "\
step       result    seconds
fmt        passed        0.4
tests      passed        0.0
deny       not run       0.0

5 passed, 0 failed
deny: not run, cargo-deny is missing
xtask test: all 2 steps passed in 2 min 5 s";
        assert_eq!(report.text(Duration::from_secs(125)), expected);
    }
}
