//! `cargo xtask test`: every check of the project, in the order in which CI runs them.

mod dependencies;
mod examples;
mod lints;
mod packages;
mod report;
mod suite;

use anyhow::{Result, anyhow};
use clap::{
    Args,
    builder::{PossibleValue, PossibleValuesParser},
};

use self::report::Report;
use crate::{
    clock::{Stopwatch, in_words},
    tools,
    workspace::Workspace,
};

/// All steps. A cheap one that often fails stands before a dear one.
static STEPS: &[Step] = &[
    Step::new(
        "tools",
        "install what the tests start: a C compiler, redis-server",
        tools,
    ),
    Step::new("fmt", "check the format", lints::fmt),
    Step::new("clippy", "lint everything with all features", lints::clippy),
    Step::new(
        "features",
        "lint each published crate with each feature alone",
        lints::features,
    ),
    Step::new(
        "tests",
        "run unit, integration, conformance and compile-fail tests",
        suite::tests,
    ),
    Step::new(
        "doctests",
        "run the examples in the documentation",
        suite::doctests,
    ),
    Step::new(
        "docs",
        "build the documentation, private items too",
        lints::docs,
    ),
    Step::new(
        "examples",
        "run each example program and check what it says",
        examples::run,
    ),
    Step::new(
        "size",
        "count the crates that a user has to build",
        dependencies::size,
    ),
    Step::new(
        "deny",
        "check licences, bans and sources, if cargo-deny is here",
        dependencies::deny,
    ),
    Step::new(
        "minimal",
        "build with the oldest versions of dependencies",
        dependencies::minimal,
    )
    .slow(),
    Step::new(
        "package",
        "check what a published crate needs",
        packages::check,
    ),
];

/// Which steps to run.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Run this step alone; may be repeated.
    #[arg(long, value_name = "STEP", value_parser = step_names())]
    only: Vec<String>,

    /// Leave out the steps that build everything a second time: `minimal`.
    #[arg(long, conflicts_with = "only")]
    quick: bool,
}

/// One check.
#[derive(Debug)]
struct Step {
    name: &'static str,
    about: &'static str,
    slow: bool,
    run: fn(&Workspace) -> Result<Outcome>,
}

/// How a step ended that did not fail.
#[derive(Debug)]
enum Outcome {
    /// With a line for the end of the report, if it has something to tell.
    Passed(Option<String>),
    /// Not run, and why.
    Skipped(String),
}

impl Step {
    const fn new(
        name: &'static str,
        about: &'static str,
        run: fn(&Workspace) -> Result<Outcome>,
    ) -> Self {
        Self {
            name,
            about,
            slow: false,
            run,
        }
    }

    const fn slow(mut self) -> Self {
        self.slow = true;
        self
    }
}

pub(crate) fn run(args: &TestArgs) -> Result<()> {
    let workspace = Workspace::load()?;
    let steps = select(args);
    let mut report = Report::start();
    for (index, step) in steps.iter().enumerate() {
        println!(
            "\n[{}/{}] {}: {}",
            index + 1,
            steps.len(),
            step.name,
            step.about
        );
        let watch = Stopwatch::start();
        let outcome = (step.run)(&workspace).map_err(|error| {
            let (name, time) = (step.name, in_words(watch.elapsed()));
            anyhow!(
                "xtask test: step `{name}` failed after {time}: {error:#}\n\
                 To run it alone: cargo xtask test --only {name}"
            )
        })?;
        report.add(step.name, outcome, watch.elapsed());
    }
    report.print();
    Ok(())
}

fn select(args: &TestArgs) -> Vec<&'static Step> {
    let is_wanted = |step: &&Step| {
        if args.only.is_empty() {
            !(args.quick && step.slow)
        } else {
            args.only.iter().any(|name| name == step.name)
        }
    };
    STEPS.iter().filter(is_wanted).collect()
}

fn step_names() -> PossibleValuesParser {
    STEPS
        .iter()
        .map(|step| PossibleValue::new(step.name).help(step.about))
        .into()
}

fn tools(_: &Workspace) -> Result<Outcome> {
    tools::ensure_installed()?;
    Ok(Outcome::Passed(None))
}
