//! Format, lints and documentation.

use anyhow::Result;

use super::Outcome;
use crate::{
    process::{cargo, run},
    workspace::Workspace,
};

pub(super) fn fmt() -> Result<Outcome> {
    run(&mut cargo(["fmt", "--all", "--check"]))?;
    Ok(Outcome::Passed(None))
}

/// The lint `incompatible_msrv` is among them: it watches the `rust-version` of the manifests.
pub(super) fn clippy() -> Result<Outcome> {
    lint(&["--workspace", "--all-targets", "--all-features"])?;
    Ok(Outcome::Passed(None))
}

/// Lints each published crate without features, and with each feature alone.
///
/// Only the library: the tests of a crate may use what its dev-dependencies switch on.
pub(super) fn features(workspace: &Workspace) -> Result<Outcome> {
    for package in workspace.publishable() {
        let bare = ["--package", &package.name, "--no-default-features"];
        lint(&bare)?;
        for feature in package.features.keys() {
            lint(&[&bare[..], &["--features", feature]].concat())?;
        }
    }
    Ok(Outcome::Passed(None))
}

pub(super) fn docs() -> Result<Outcome> {
    let flags = [
        "--no-deps",
        "--workspace",
        "--all-features",
        "--document-private-items",
    ];
    run(cargo(["doc"]).args(flags).env("RUSTDOCFLAGS", "-Dwarnings"))?;
    Ok(Outcome::Passed(None))
}

fn lint(selection: &[&str]) -> Result<()> {
    run(cargo(["clippy"]).args(selection).args(["--", "-Dwarnings"]))
}
