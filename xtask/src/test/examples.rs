//! Runs the example programs for real.

use std::{env::consts::EXE_SUFFIX, fs, path::Path, time::Duration};

use anyhow::{Result, ensure};

use super::Outcome;
use crate::{
    process::{Stream, cargo, program, root, run as run_command, run_watched},
    workspace::Workspace,
};

/// How long one example may run.
const LIMIT: Duration = Duration::from_secs(120);

/// The runs of the example programs. Each package below `examples/` has at least one.
///
/// To add one, run the program and copy lines from the end of its output that hold on every
/// machine: no times, no random names.
static EXAMPLES: &[Example] = &[
    Example {
        package: "email",
        args: &[],
        says: &[
            "ada: mail 1, sent before",
            "bob: not sent: nobody knows",
            "eve: not sent: nobody knows",
            "bob: mail 2, sent before",
            "eve: mail 3, sent now",
            "The outbox:\nada: invoice 7\nbob: invoice 7\neve: invoice 7\n",
        ],
    },
    Example {
        package: "orders",
        args: &[],
        says: &[
            "deliveries          \u{2506} 24",
            "executed            \u{2506} 12",
            "mismatches          \u{2506}  1",
            "real effects (rows) \u{2506} 12",
            "12 of 12 orders have exactly one row in orders-data/orders.jsonl.",
        ],
    },
    Example {
        package: "orders",
        args: &["--store", "memory"],
        says: &["12 of 12 orders have exactly one row in orders-data/memory.jsonl."],
    },
    Example {
        package: "rides",
        args: &[],
        says: &["27 of 27 bookings that died were finished once"],
    },
    Example {
        package: "service",
        args: &[],
        says: &[
            "executed: transfer 1",
            "replayed: transfer 1",
            "refused: the key was used before with other arguments",
            "executed: transfer 2",
            "replayed: transfer 2",
        ],
    },
    Example {
        package: "shop-server",
        args: &["--demo"],
        says: &[
            "a first order                  201 ord_",
            "the same again                 201 replayed ord_",
            "another, with its key          422 the key was used before with another request",
            "a retry while the first runs   409 a request with this key is being handled",
            "and when it has ended          201 replayed ord_",
            "a client that leaves           gone",
            "and comes back                 201 replayed ord_",
            "two keys in one header         400 there is more than one key",
            "another caller, the same key   201 ord_",
            "orders of the first caller     200 3",
        ],
    },
    Example {
        package: "transfer",
        args: &["--fresh"],
        says: &[
            "requests sent          |     400",
            "executed               |     200",
            "rows of the ledger     |     200",
            "cents in all accounts  | 1000000",
            "Each transfer happened once, and no money came or went.",
        ],
    },
    Example {
        package: "worker",
        args: &[],
        says: &[
            "deliveries",
            "duplicates",
            "retries",
            "rows                | 200",
            "dead letters",
            "Each of 200 messages took effect once, and none was lost.",
        ],
    },
];

/// One run of an example program.
#[derive(Debug)]
struct Example {
    /// The package, whose program has the same name.
    package: &'static str,
    args: &'static [&'static str],
    /// What the output must contain, in this order.
    says: &'static [&'static str],
}

pub(super) fn run(workspace: &Workspace) -> Result<Outcome> {
    let packages = example_packages(workspace);
    for package in &packages {
        ensure!(
            EXAMPLES.iter().any(|example| example.package == *package),
            "the example `{package}` is run by nobody: add it to `EXAMPLES` in {}",
            file!()
        );
    }
    let selection = packages.iter().flat_map(|package| ["--package", package]);
    run_command(cargo(["build"]).args(selection))?;
    for example in EXAMPLES {
        check(example, &workspace.target)?;
    }
    Ok(Outcome::Passed(Some(format!(
        "examples: {} programs run",
        EXAMPLES.len()
    ))))
}

fn example_packages(workspace: &Workspace) -> Vec<&str> {
    let folder = root().join("examples");
    let packages = workspace.packages.iter();
    packages
        .filter(|package| package.folder().starts_with(&folder))
        .map(|p| &*p.name)
        .collect()
}

/// Runs an example in an empty folder, so that no file of an earlier run changes what it says.
fn check(example: &Example, target: &Path) -> Result<()> {
    let folder = target.join("xtask/examples").join(example.package);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let path = target
        .join("debug")
        .join(format!("{}{EXE_SUFFIX}", example.package));
    let mut command = program(path);
    command.args(example.args).current_dir(&folder);
    let output = run_watched(&mut command, Stream::Stdout, LIMIT)?;
    let missing = first_missing(&output, example.says);
    ensure!(
        missing.is_none(),
        "the example `{}` did not say {missing:?}",
        example.package
    );
    Ok(())
}

/// Finds the first text that does not follow the ones before it.
fn first_missing<'t>(output: &str, texts: &[&'t str]) -> Option<&'t str> {
    let mut rest = output;
    for text in texts {
        match rest.split_once(text) {
            Some((_, after)) => rest = after,
            None => return Some(text),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_looked_for_in_their_order() {
        let output = "first call: executed\nsecond call: replayed\n";
        assert_eq!(first_missing(output, &["executed", "replayed"]), None);
        assert_eq!(
            first_missing(output, &["replayed", "executed"]),
            Some("executed")
        );
        assert_eq!(first_missing(output, &[]), None);
    }
}
