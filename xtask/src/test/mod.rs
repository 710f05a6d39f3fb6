//! `cargo xtask test`: every check of the project.

mod dependencies;
mod examples;
mod lints;
mod packages;
mod report;
mod suite;

use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};

use self::report::Report;
use crate::{
    clock::{Stopwatch, in_words},
    tools,
    verify::{self, VerifyArgs},
    workspace::Workspace,
};

/// Which steps to run.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Run this step alone; may be repeated.
    #[arg(long, value_name = "STEP")]
    only: Vec<Step>,

    /// Leave out the steps that build everything once more: `minimal`, `package`.
    #[arg(long, conflicts_with = "only")]
    quick: bool,
}

/// The checks, in the order in which they run.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Step {
    /// Install what the tests need: a C compiler, Redis, PostgreSQL, PgBouncer, RabbitMQ, NATS.
    Tools,
    /// Check the format.
    Fmt,
    /// Lint everything with all features.
    Clippy,
    /// Lint each published crate with each feature alone.
    Features,
    /// Run the unit, integration, conformance and compile-fail tests.
    Tests,
    /// Run the examples of the documentation.
    Doctests,
    /// Build the documentation, that of private items too.
    Docs,
    /// Run each example program and check what it says.
    Examples,
    /// Verify a little of each kind: the model, schedules, simulations, chaos, broken stores, parsers.
    Verify,
    /// Count the crates that a user has to build.
    Size,
    /// Check licences, bans and sources of dependencies, if cargo-deny is installed.
    Deny,
    /// Build with the oldest versions of dependencies that the manifests allow.
    Minimal,
    /// Pack each published crate and build it from its package.
    Package,
}

/// How a step ended that did not fail.
#[derive(Debug)]
enum Outcome {
    /// With a line for the end of the report, if it has something to tell.
    Passed(Option<String>),
    /// Not run, and why.
    Skipped(String),
}

/// Runs the steps one after the other, up to the first that fails.
pub(crate) fn run(args: &TestArgs) -> Result<()> {
    let workspace = Workspace::load()?;
    let steps = select(args);
    let mut report = Report::start();
    for (index, step) in steps.iter().enumerate() {
        let name = step.name();
        println!("\n[{}/{}] {name}: {}", index + 1, steps.len(), step.about());
        let watch = Stopwatch::start();
        let outcome = step.run(&workspace).map_err(|error| {
            let time = in_words(watch.elapsed());
            anyhow!(
                "xtask test: step `{name}` failed after {time}: {error:#}\n\
                 To run it alone: cargo xtask test --only {name}"
            )
        })?;
        report.add(*step, outcome, watch.elapsed());
    }
    report.print();
    Ok(())
}

impl Step {
    fn run(self, workspace: &Workspace) -> Result<Outcome> {
        match self {
            Self::Tools => tools::ensure_installed().map(|()| Outcome::Passed(None)),
            Self::Fmt => lints::fmt(),
            Self::Clippy => lints::clippy(),
            Self::Features => lints::features(workspace),
            Self::Tests => suite::tests(),
            Self::Doctests => suite::doctests(),
            Self::Docs => lints::docs(),
            Self::Examples => examples::run(workspace),
            Self::Verify => verify::run(&VerifyArgs::default()).map(|()| Outcome::Passed(None)),
            Self::Size => dependencies::size(),
            Self::Deny => dependencies::deny(),
            Self::Minimal => dependencies::minimal(workspace),
            Self::Package => packages::check(workspace),
        }
    }

    fn is_slow(self) -> bool {
        matches!(self, Self::Minimal | Self::Package)
    }

    /// The name on the command line.
    fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What the help says about it.
    fn about(self) -> String {
        let value = self.to_possible_value();
        value
            .and_then(|value| value.get_help().map(ToString::to_string))
            .unwrap_or_default()
    }
}

fn select(args: &TestArgs) -> Vec<Step> {
    let is_wanted = |step: &Step| {
        if args.only.is_empty() {
            !(args.quick && step.is_slow())
        } else {
            args.only.contains(step)
        }
    };
    Step::value_variants()
        .iter()
        .copied()
        .filter(is_wanted)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(only: &[Step], quick: bool) -> Vec<Step> {
        select(&TestArgs {
            only: only.to_vec(),
            quick,
        })
    }

    #[test]
    fn everything_runs_unless_less_is_asked_for() {
        assert_eq!(selected(&[], false), Step::value_variants());
    }

    #[test]
    fn quick_leaves_out_the_slow_steps() {
        let steps = selected(&[], true);
        assert_eq!(steps.len(), Step::value_variants().len() - 2);
        assert!(!steps.iter().any(|step| step.is_slow()));
    }

    #[test]
    fn named_steps_run_once_and_in_the_usual_order() {
        let only = [Step::Docs, Step::Minimal, Step::Fmt, Step::Docs];
        assert_eq!(
            selected(&only, false),
            [Step::Fmt, Step::Docs, Step::Minimal]
        );
    }

    #[test]
    fn steps_are_named_and_explained() {
        assert_eq!(Step::Doctests.name(), "doctests");
        assert_eq!(
            Step::Doctests.about(),
            "Run the examples of the documentation"
        );
    }
}
