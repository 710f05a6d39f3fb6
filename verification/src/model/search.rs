//! One run of the checker.

use std::io::{IsTerminal, stderr};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use anyhow::{Result, anyhow};
use stateright::{Checker, Expectation, HasDiscoveries, Model, Path};
use tokio::time::Instant;

use super::action::Action;
use super::check::{Counterexample, Progress};
use super::machine::Machine;
use super::promise::Promise;
use super::state::State;
use super::story::tell;
use crate::report::in_words;

/// What to look for, and where.
#[derive(Clone, Debug)]
pub(super) struct Search {
    name: String,
    machine: Machine,
    progress: Progress,
    threads: usize,
    ends: HasDiscoveries,
    most_steps: Option<usize>,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) states: usize,
    pub(super) depth: usize,
    pub(super) time: Duration,
    pub(super) broken: Vec<Counterexample>,
    pub(super) unseen: Vec<&'static str>,
}

impl Search {
    /// Looks at everything, or up to the first broken promise.
    pub(super) fn of_everything(
        name: String,
        machine: Machine,
        progress: Progress,
        threads: usize,
    ) -> Self {
        Self {
            name,
            machine,
            progress,
            threads,
            ends: HasDiscoveries::AnyFailures,
            most_steps: None,
        }
    }

    /// The same, until `promise` is broken. One thread finds short ways first.
    pub(super) fn until(self, promise: Promise) -> Self {
        Self {
            threads: 1,
            ends: HasDiscoveries::AnyOf([promise.text()].into()),
            ..self
        }
    }

    pub(super) fn run(&self) -> Result<Found> {
        let started = Instant::now();
        let mut builder = self
            .machine
            .checker()
            .threads(self.threads)
            .finish_when(self.ends.clone());
        if let Some(steps) = self.most_steps {
            // The checker counts states, the first one too, and looks at none at the depth itself.
            builder = builder.target_max_depth(steps + 2);
        }
        let mut checker = builder.spawn_bfs();
        let handles = checker.handles();
        self.watch(&checker, &handles, started);
        for handle in handles {
            let joined = handle.join();
            joined.map_err(|_| anyhow!("the checker of `{}` panicked", self.name))?;
        }

        let mut discoveries = checker.discoveries();
        let mut broken = Vec::new();
        let mut unseen = Vec::new();
        for property in self.machine.properties() {
            let discovery = discoveries.remove(property.name);
            match (property.expectation, discovery) {
                (Expectation::Sometimes, None) => unseen.push(property.name),
                (Expectation::Sometimes, Some(_)) | (_, None) => {}
                (_, Some(path)) => broken.extend(counterexample(property.name, path)),
            }
        }
        Ok(Found {
            states: checker.unique_state_count(),
            depth: checker.max_depth().saturating_sub(1),
            time: started.elapsed(),
            broken,
            unseen,
        })
    }

    /// The shortest way to break `promise`, if `known` is one.
    ///
    /// The checker keeps the last way that it has found when it stops, not the first.
    pub(super) fn shortest(
        &self,
        promise: Promise,
        mut known: Counterexample,
    ) -> Result<Counterexample> {
        let mut search = self.clone().until(promise);
        loop {
            search.most_steps = Some(known.steps.len() - 1);
            match search.run()?.of(promise) {
                Some(shorter) => known = shorter,
                None => return Ok(known),
            }
        }
    }

    /// Waits for the end, and says how far it is.
    fn watch(&self, checker: &impl Checker<Machine>, threads: &[JoinHandle<()>], started: Instant) {
        let is_terminal = stderr().is_terminal();
        let pause = Duration::from_secs(if is_terminal { 1 } else { 10 });
        let mut due = started + pause;
        let mut nap = Duration::from_millis(1);
        while !threads.iter().all(JoinHandle::is_finished) {
            sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(100));
            if self.progress == Progress::Shown && Instant::now() >= due {
                due = Instant::now() + pause;
                eprintln!(
                    "{}: {} states, {} steps deep, {} so far",
                    self.name,
                    checker.unique_state_count(),
                    checker.max_depth(),
                    in_words(started.elapsed()),
                );
            }
        }
    }
}

impl Found {
    /// How `promise` was broken.
    pub(super) fn of(self, promise: Promise) -> Option<Counterexample> {
        let mut broken = self.broken.into_iter();
        broken.find(|found| found.promise == promise)
    }
}

fn counterexample(name: &str, path: Path<State, Action>) -> Option<Counterexample> {
    let promise = Promise::from_text(name)?;
    let steps = tell(path);
    Some(Counterexample { promise, steps })
}
