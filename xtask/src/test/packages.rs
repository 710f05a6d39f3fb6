//! What a crate needs to be published.

use std::fs;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use super::Outcome;
use crate::{
    process::{cargo, run},
    workspace::{Package, Workspace},
};

/// Packs each published crate, and builds it from its package, as a user would.
///
/// Only there it shows that a crate needs a file outside its own folder.
pub(super) fn check(workspace: &Workspace) -> Result<Outcome> {
    let packages: Vec<_> = workspace.publishable().collect();
    let faults = packages.iter().flat_map(|package| {
        missing(package).map(|what| format!("`{}` has no {what}", package.name))
    });
    let faults: Vec<_> = faults.collect();
    ensure!(faults.is_empty(), "{}", faults.join(", "));

    let selection = packages
        .iter()
        .flat_map(|package| ["--package", &package.name]);
    let target = new_target(workspace)?;
    run(cargo(["package", "--allow-dirty", "--all-features"])
        .arg("--target-dir")
        .arg(target.path())
        .args(selection))?;
    Ok(Outcome::Passed(Some(format!(
        "package: {} crates can be published",
        packages.len()
    ))))
}

/// A target directory that was never used. Cargo takes a version that is in a registry for one that
/// never changes, so with a directory of an earlier run it would build our crates upon what they then
/// were.
fn new_target(workspace: &Workspace) -> Result<TempDir> {
    let parent = workspace.target.join("xtask");
    fs::create_dir_all(&parent)?;
    let mut builder = tempfile::Builder::new();
    Ok(builder.prefix("package-").tempdir_in(parent)?)
}

fn missing(package: &Package) -> impl Iterator<Item = &'static str> {
    let readme = package
        .readme
        .as_ref()
        .map(|path| package.folder().join(path));
    [
        ("description", package.description.is_some()),
        ("licence", package.license.is_some()),
        ("readme", readme.is_some_and(|path| path.exists())),
    ]
    .into_iter()
    .filter_map(|(what, is_there)| (!is_there).then_some(what))
}
