//! What a run has come to.

use std::fmt::{self, Write as _};
use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::control::Control;
use crate::setup::Setup;

/// How many faults of a run are listed.
const SHOWN: usize = 10;
/// How often an owner was told that it came too late, and what a failover has cost.
pub(crate) const LATE: &str = "late completions refused";
pub(crate) const LOST: &str = "acknowledged writes lost";

/// What came of one run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// What ran, as in `kill`.
    pub kind: &'static str,
    /// On what, as in `redis rerun`.
    pub on: String,
    /// What the rounds were drawn from.
    pub seed: u64,
    /// How long it took.
    pub time: Duration,
    /// What was counted, in the order of its first mention.
    pub counts: Vec<(String, u64)>,
    /// The promises that were broken.
    pub violations: Vec<Violation>,
    /// In which ways the run was too tame to prove anything.
    pub tame: Vec<String>,
    /// How the store was broken on purpose.
    pub control: Option<Control>,
    /// The command that plans the same rounds again.
    pub again: String,
}

/// A promise that was broken.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Violation {
    /// Its name in the protocol, or a word for it.
    pub promise: &'static str,
    /// How it was broken.
    pub text: String,
}

impl Violation {
    pub(crate) fn new(promise: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { promise, text }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.text)
    }
}

impl Report {
    pub(crate) fn new(kind: &'static str, setup: &Setup) -> Self {
        let mut report = Self::of(kind, setup.on(), setup.seed, setup.again(kind));
        report.control = setup.control;
        report
    }

    pub(crate) const fn of(kind: &'static str, on: String, seed: u64, again: String) -> Self {
        Self {
            kind,
            on,
            seed,
            control: None,
            again,
            time: Duration::ZERO,
            counts: Vec::new(),
            violations: Vec::new(),
            tame: Vec::new(),
        }
    }

    /// Whether the run was wild enough, and no promise was broken; or, on a store that is broken on
    /// purpose, whether that was found out.
    #[must_use]
    pub fn is_good(&self) -> bool {
        match self.control {
            None => self.violations.is_empty() && self.tame.is_empty(),
            Some(control) => control.is_found(self),
        }
    }

    const fn verdict(&self, is_good: bool) -> &'static str {
        match (self.control, is_good) {
            (None, true) => "good",
            (None, false) => "FAILED",
            (Some(_), true) => "found out",
            (Some(_), false) => "NOT FOUND OUT",
        }
    }

    /// How often `name` was counted.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        let found = self.counts.iter().find(|(counted, _)| counted == name);
        found.map_or(0, |(_, count)| *count)
    }

    pub(crate) fn add(&mut self, name: &str, count: u64) {
        *self.slot(name) += count;
    }

    pub(crate) fn raise(&mut self, name: &str, to: u64) {
        let slot = self.slot(name);
        *slot = to.max(*slot);
    }

    fn slot(&mut self, name: &str) -> &mut u64 {
        let found = self.counts.iter().position(|(counted, _)| counted == name);
        let index = found.unwrap_or_else(|| {
            self.counts.push((name.to_owned(), 0));
            self.counts.len() - 1
        });
        &mut self.counts[index].1
    }

    /// Objects if `name` was counted in more than `percent` of `of`.
    pub(crate) fn limit(&mut self, name: &str, percent: u64, of: &str) {
        let (count, of_count) = (self.count(name), self.count(of));
        if count * 100 > percent * of_count {
            self.tame.push(format!(
                "too many: {count} {name} in {of_count} {of}; at most {percent} % were expected"
            ));
        }
    }

    /// Calls the run tame if `name` was counted in less than `percent` of `of`.
    pub(crate) fn expect(&mut self, name: &str, percent: u64, of: &str) {
        let (count, of_count) = (self.count(name), self.count(of));
        if count * 100 < percent * of_count || of_count == 0 {
            self.tame.push(format!(
                "too tame: only {count} {name} in {of_count} {of}; {percent} % are needed"
            ));
        }
    }
}

/// Writes all that was counted, as a table for each kind of run.
#[must_use]
pub fn table(reports: &[Report]) -> String {
    let mut text = String::new();
    for group in reports.chunk_by(|one, next| one.kind == next.kind) {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let kind = Cell::new(group.first().map_or("", |report| report.kind));
        let header = group.iter().map(|report| right(report.on.clone()));
        table.set_header([kind].into_iter().chain(header));

        for name in names(group) {
            let counts = group
                .iter()
                .map(|report| right(report.count(name).to_string()));
            table.add_row([Cell::new(name)].into_iter().chain(counts));
        }
        let violations = group
            .iter()
            .map(|report| report.violations.len().to_string());
        table.add_row(
            [Cell::new("VIOLATIONS")]
                .into_iter()
                .chain(violations.map(right)),
        );
        let times = group.iter().map(|report| right(in_words(report.time)));
        table.add_row([Cell::new("time")].into_iter().chain(times));
        let seeds = group.iter().map(|report| right(report.seed.to_string()));
        table.add_row([Cell::new("seed")].into_iter().chain(seeds));
        _ = writeln!(text, "{table}");
    }
    text
}

/// Writes one line for each run, and what was wrong with those that failed.
#[must_use]
pub fn summary(reports: &[Report]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let columns = ["rounds", "takeovers", LATE, LOST];
    let header = columns.map(|name| right(name.to_owned()));
    let rest = ["violations", "time", "result"].map(|name| right(name.to_owned()));
    table.set_header([Cell::new("run")].into_iter().chain(header).chain(rest));
    for report in reports {
        let counts = columns.map(|name| right(report.count(name).to_string()));
        let rest = [
            report.violations.len().to_string(),
            in_words(report.time),
            report.verdict(report.is_good()).to_owned(),
        ];
        let name = Cell::new(format!("{} {}", report.kind, report.on));
        table.add_row([name].into_iter().chain(counts).chain(rest.map(right)));
    }
    let mut text = format!("{table}\n");
    for report in reports {
        text.push_str(&faults(report));
    }
    text
}

/// What was wrong with a run, and how to run it again.
fn faults(report: &Report) -> String {
    let mut text = String::new();
    if report.is_good() {
        return text;
    }
    let violations = report.violations.iter().map(ToString::to_string);
    let all: Vec<_> = violations.chain(report.tame.iter().cloned()).collect();
    let Report {
        kind, on, again, ..
    } = report;
    _ = writeln!(text, "{kind} {on}:");
    for fault in all.iter().take(SHOWN) {
        _ = writeln!(text, "  {fault}");
    }
    if all.len() > SHOWN {
        _ = writeln!(text, "  and {} more", all.len() - SHOWN);
    }
    _ = writeln!(text, "  the same rounds again: {again}");
    text
}

/// The names of what was counted: first what each run counts, then what a caller got, in order.
fn names(reports: &[Report]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in reports.iter().flat_map(|report| &report.counts) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names.sort_by_key(|name| name.contains(": ").then_some(*name));
    names
}

/// Writes a duration in whole seconds: `8 s`, `2 min 5 s`.
pub(crate) fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds / 60 {
        0 => format!("{seconds} s"),
        minutes => format!("{minutes} min {} s", seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::StoreKind;

    fn report() -> Report {
        Report::new("kill", &Setup::new("", StoreKind::Redis, 12, 1))
    }

    #[test]
    fn a_run_without_enough_of_something_is_tame() {
        let mut report = report();
        report.add("rounds", 100);
        report.add("takeovers", 29);
        report.expect("takeovers", 30, "rounds");
        assert!(!report.is_good());
        assert!(report.tame[0].contains("29 takeovers"), "{:?}", report.tame);

        report.tame.clear();
        report.add("takeovers", 1);
        report.expect("takeovers", 30, "rounds");
        assert!(report.is_good());
        report.violations.push(Violation::new("P1", ""));
        assert!(!report.is_good());
    }

    #[test]
    fn a_run_of_nothing_is_tame() {
        let mut report = report();
        report.expect("takeovers", 30, "rounds");
        assert!(!report.is_good());
    }

    #[test]
    fn a_run_that_failed_says_how_to_run_it_again() {
        let mut report = report();
        report.violations.push(Violation::new("P1", "twice"));
        let text = summary(&[report]);
        assert!(text.contains("P1: twice"), "{text}");
        let again = "chaos kill --store redis --mode rerun --rounds 12 --seed 1";
        assert!(text.contains(again), "{text}");
    }

    #[test]
    fn a_control_is_good_if_it_is_found_out() {
        let setup = Setup::new("", StoreKind::Redis, 12, 1);
        let control = Control::UnconditionalComplete;
        let mut report = Report::new("stop", &setup.control(Some(control)));
        report.violations.push(Violation::new("P1", ""));
        assert!(!report.is_good());
        report.violations.push(Violation::new("linearizable", ""));
        assert!(report.is_good());
    }

    #[test]
    fn the_table_has_a_column_for_each_run() {
        let mut one = report();
        one.add("rounds", 12);
        let mut two = Report::new("kill", &Setup::new("", StoreKind::Sqlite, 12, 1));
        two.add("stuck", 3);
        let text = table(&[one, two]);
        assert!(
            text.contains("sqlite rerun") && text.contains("stuck"),
            "{text}"
        );
    }
}
