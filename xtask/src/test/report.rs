//! What is said at the end.

use std::time::Duration;

use super::{Outcome, Step};
use crate::clock::{Stopwatch, in_words};

/// The steps that have run so far.
#[derive(Debug)]
pub(super) struct Report {
    watch: Stopwatch,
    steps: Vec<(Step, Outcome, Duration)>,
}

impl Report {
    pub(super) fn start() -> Self {
        Self {
            watch: Stopwatch::start(),
            steps: Vec::new(),
        }
    }

    /// Adds a step that did not fail, and says so.
    pub(super) fn add(&mut self, step: Step, outcome: Outcome, time: Duration) {
        println!("{}: {} in {}", step.name(), outcome.word(), in_words(time));
        self.steps.push((step, outcome, time));
    }

    pub(super) fn print(&self) {
        println!("\n{}", self.text(self.watch.elapsed()));
    }

    /// A table of the steps, their notes in the words of who wrote them, and one closing line.
    fn text(&self, total: Duration) -> String {
        let mut lines = vec![format!("{:<10} {:<8} {:>8}", "step", "result", "seconds")];
        let mut notes = vec![String::new()];
        let mut passed = 0;
        for (step, outcome, time) in &self.steps {
            let (name, word, seconds) = (step.name(), outcome.word(), time.as_secs_f64());
            lines.push(format!("{name:<10} {word:<8} {seconds:>8.1}"));
            notes.extend(outcome.note(&name));
            passed += usize::from(matches!(outcome, Outcome::Passed(_)));
        }
        let total = in_words(total);
        lines.append(&mut notes);
        lines.push(format!("xtask test: all {passed} steps passed in {total}"));
        lines.join("\n")
    }
}

impl Outcome {
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
        let passed = Outcome::Passed(Some("5 passed, 0 failed".into()));
        let skipped = Outcome::Skipped("cargo-deny is missing".into());
        let mut report = Report::start();
        report.add(Step::Fmt, Outcome::Passed(None), Duration::from_millis(400));
        report.add(Step::Tests, passed, Duration::ZERO);
        report.add(Step::Deny, skipped, Duration::ZERO);
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
