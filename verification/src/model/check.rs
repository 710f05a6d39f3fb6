//! Explores, and says what was found.

use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;

use super::bounds::Bounds;
use super::machine::Machine;
use super::promise::Promise;
use super::search::{Found, Search};
use super::variant::Variant;
use super::world::World;

/// What an exploration has found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Exploration {
    /// What was explored: the name of a world, or of a variant.
    pub name: String,
    /// How large it was.
    pub bounds: Bounds,
    /// How many different states were seen.
    pub states: usize,
    /// How many steps away the farthest of them is.
    pub depth: usize,
    /// How long it took.
    pub time: Duration,
    /// Which promise was to be broken, if the protocol was.
    pub expected: Option<Promise>,
    /// The promises that were broken, by the shortest way.
    pub broken: Vec<Counterexample>,
    /// What should have been seen, and was not: the world was too tame.
    pub unseen: Vec<&'static str>,
}

/// A way to break a promise.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Counterexample {
    /// Which one.
    pub promise: Promise,
    /// How, step by step.
    pub steps: Vec<String>,
}

/// Whether to tell how far an exploration is, on the standard error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way")]
pub enum Progress {
    /// Every few seconds.
    Shown,
    /// Not at all.
    Silent,
}

/// Explores all of `world`, in which every promise must hold.
///
/// # Errors
///
/// If the checker itself fails.
pub fn hold(world: &World, progress: Progress) -> Result<Exploration> {
    let machine = Machine::new(world.bounds, None);
    let name = world.name.to_owned();
    let threads = available_parallelism().map_or(1, usize::from);
    let search = Search::of_everything(name.clone(), machine, progress, threads);
    let mut found = search.run()?;
    for known in &mut found.broken {
        *known = search.shortest(known.promise, known.clone())?;
    }
    Ok(Exploration::new(name, world.bounds, None, found))
}

/// Explores the protocol as `variant` breaks it, until `promise` is broken, too.
///
/// # Errors
///
/// If the checker itself fails.
pub fn fail(variant: Variant, promise: Promise, progress: Progress) -> Result<Exploration> {
    let bounds = variant.bounds();
    let machine = Machine::new(bounds, Some(variant));
    let name = variant
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned());
    let search = Search::of_everything(name.clone(), machine, progress, 1).until(promise);
    let mut found = search.run()?;
    // What else was broken by then depends on the order of the search.
    found.broken.retain(|known| known.promise == promise);
    for known in &mut found.broken {
        *known = search.shortest(promise, known.clone())?;
    }
    Ok(Exploration::new(name, bounds, Some(promise), found))
}

impl Exploration {
    fn new(name: String, bounds: Bounds, expected: Option<Promise>, found: Found) -> Self {
        let Found {
            states,
            depth,
            time,
            broken,
            unseen,
        } = found;
        Self {
            name,
            bounds,
            states,
            depth,
            time,
            expected,
            broken,
            unseen,
        }
    }

    /// Whether the promises hold, in a world that was wild enough; or the one that was to be broken
    /// is.
    #[must_use]
    pub fn is_good(&self) -> bool {
        match self.expected {
            None => self.broken.is_empty() && self.unseen.is_empty(),
            Some(promise) => self.broken.iter().any(|known| known.promise == promise),
        }
    }

    /// What was found, in a few words.
    #[must_use]
    pub fn outcome(&self) -> String {
        let broken = self.broken.iter().map(|known| {
            let Counterexample { promise, steps } = known;
            format!("{} broken in {} steps", promise.name(), steps.len())
        });
        let unseen = self
            .unseen
            .iter()
            .map(|sight| format!("never seen: {sight}"));
        let faults: Vec<_> = match self.expected {
            Some(promise) if self.broken.is_empty() => vec![format!("{} HOLDS", promise.name())],
            Some(_) => broken.collect(),
            None => broken.chain(unseen).collect(),
        };
        if faults.is_empty() {
            return if self.bounds.at_most_once {
                "P1-P8, E1, E2 hold"
            } else {
                "P1-P8 hold"
            }
            .to_owned();
        }
        faults.join("; ")
    }
}
