//! Clients, a server and the network between them in one thread and in no time: a seed is a
//! simulation, and is the same one every time.
//!
//! Three clients call the functions under test through the engine, over a store that speaks to a
//! server by sockets. Client and server crash and start again, links are held, cut, slow and lossy,
//! the server answers late, and clients stand still. Then all is put right, and everybody has to get
//! the one value of each key. The judge is the same as for real servers.
//!
//! What makes a simulation the same again: all hosts share a thread, in an order drawn from the seed,
//! and a clock that the simulation moves; the plan, the network and the polls of the engine draw from
//! the seed. Owners are random all the same. Nothing depends on their values, and a history calls
//! them by the order in which the server has heard of them.

mod broken;
mod client;
mod clock;
mod driver;
mod pause;
mod plan;
mod remote;
mod scene;
mod server;
mod wire;

use anyhow::{Context, Result};

use self::driver::{Played, play};
use self::plan::Variant;
use crate::control::Control;
use crate::progress::Progress;
use crate::report::{Report, Violation};
use crate::setup::Mode;

/// What each report has, in this order.
const COUNTS: [&str; 24] = [
    "rounds",
    "calls",
    "calls dropped",
    "executions",
    TAKEOVERS,
    LATE,
    LOST,
    "doubts settled",
    HEALED,
    "clients crashed",
    "clients paused",
    "servers crashed",
    "links cut",
    "links cut one way",
    "links held",
    "links lossy",
    "links slow",
    "keys with no effect",
    "keys with one effect",
    "keys with two effects",
    "keys with three effects or more",
    "events: store_error",
    "events: unrecorded",
    "events: waited",
];
const TAKEOVERS: &str = "takeovers";
const LATE: &str = "late completions refused";
const LOST: &str = "events: lease_lost";
const HEALED: &str = "records healed";

/// Which seeds to play.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Seeds {
    /// The first one.
    pub first: u64,
    /// How many there are.
    pub count: u64,
    /// How to break the server on purpose.
    pub control: Option<Control>,
    /// Whether to show how far it is.
    pub progress: bool,
}

impl Seeds {
    /// `count` seeds from `first` on.
    #[must_use]
    pub const fn new(first: u64, count: u64) -> Self {
        Self {
            first,
            count,
            control: None,
            progress: false,
        }
    }

    /// How to break the server on purpose.
    #[must_use]
    pub const fn control(mut self, control: Option<Control>) -> Self {
        self.control = control;
        self
    }

    /// Whether to show how far it is.
    #[must_use]
    pub const fn progress(mut self, progress: bool) -> Self {
        self.progress = progress;
        self
    }
}

/// Plays `seeds`, and reports on each variant of the server that they draw.
///
/// # Errors
///
/// If the simulation itself fails. A broken promise is in the reports.
pub fn run(seeds: Seeds) -> Result<Vec<Report>> {
    let mut reports = Variant::ALL.map(|variant| report(variant, seeds));
    let title = reports[0].kind.to_owned();
    let progress = Progress::new(title, seeds.count, seeds.progress);
    for seed in seeds.first..seeds.first + seeds.count {
        let played = play(seed, seeds.control).with_context(|| format!("seed {seed}"))?;
        let index = Variant::ALL
            .iter()
            .position(|variant| *variant == played.variant);
        add(&mut reports[index.unwrap_or_default()], seed, played, seeds);
        progress.tick();
    }
    for report in &mut reports {
        report.time = progress.elapsed();
    }
    let plain = Variant::Durable(Mode::Rerun).name();
    let mut reports: Vec<Report> = reports
        .into_iter()
        .filter(|report| report.count("rounds") > 0)
        // What is broken shows where attempts are taken over, and where nothing else is broken.
        .filter(|report| seeds.control.is_none() || report.on.starts_with(plain))
        .collect();
    for report in &mut reports {
        expect(report);
    }
    Ok(reports)
}

/// Plays one seed, and returns all that has happened in it, line by line.
///
/// # Errors
///
/// If the simulation itself fails.
pub fn history(seed: u64, control: Option<Control>) -> Result<String> {
    Ok(play(seed, control)?.history)
}

fn report(variant: Variant, seeds: Seeds) -> Report {
    let mut on = variant.name().to_owned();
    if let Some(control) = seeds.control {
        on = format!("{on} {control:?}");
    }
    let Seeds { first, count, .. } = seeds;
    let mut again = format!("cargo run -p verification -- sim --seed {first} --seeds {count}");
    if let Some(control) = seeds.control {
        again = format!("{again} --control {}", control.name());
    }
    let mut report = Report::of("sim", on, first, again);
    report.control = seeds.control;
    for name in COUNTS {
        report.add(name, 0);
    }
    report
}

fn add(report: &mut Report, seed: u64, played: Played, seeds: Seeds) {
    for (name, count) in played.counts {
        if !name.starts_with("events: ") || COUNTS.contains(&name.as_str()) {
            report.add(&name, count);
        }
    }
    if let Some(first) = played.violations.first()
        && seeds.control.is_none()
    {
        eprintln!("VIOLATION in seed {seed}: {first}");
        eprintln!("  cargo run -p verification -- sim --seed {seed} --seeds 1 --history");
    }
    let violations = played.violations.into_iter();
    report.violations.extend(violations.map(|violation| {
        Violation::new(
            violation.promise,
            format!("seed {seed}: {}", violation.text),
        )
    }));
}

/// A single seed proves nothing, and need not: it is played to be looked at.
fn expect(report: &mut Report) {
    if report.count("rounds") < 20 {
        return;
    }
    report.expect(LOST, 50, "rounds");
    if report
        .on
        .starts_with(Variant::Durable(Mode::InDoubt).name())
    {
        report.expect("doubts settled", 50, "rounds");
    } else {
        report.expect(TAKEOVERS, 100, "rounds");
        report.expect(LATE, 30, "rounds");
    }
    if report.on.starts_with(Variant::Forgetful.name()) {
        report.expect(HEALED, 10, "rounds");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hundred seeds with as many takeovers, and all the rest in plenty.
    fn wild(takeovers: u64) -> Report {
        let mut report = report(Variant::Durable(Mode::Rerun), Seeds::new(1, 100));
        report.add("rounds", 100);
        report.add(TAKEOVERS, takeovers);
        for name in [LATE, LOST] {
            report.add(name, 1_000);
        }
        expect(&mut report);
        report
    }

    #[test]
    fn a_run_with_few_takeovers_is_too_tame() {
        assert!(wild(1_000).is_good());
        assert!(!wild(10).is_good());
    }

    #[test]
    fn a_run_without_late_owners_is_too_tame() {
        let mut report = report(Variant::Durable(Mode::Rerun), Seeds::new(1, 100));
        report.add("rounds", 100);
        for name in [TAKEOVERS, LOST] {
            report.add(name, 1_000);
        }
        expect(&mut report);
        assert!(!report.is_good());
    }
}
