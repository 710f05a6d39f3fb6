//! What a crate needs to be published.

use anyhow::{Result, ensure};

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
    run(cargo(["package", "--allow-dirty", "--all-features"]).args(selection))?;
    Ok(Outcome::Passed(Some(format!(
        "package: {} crates can be published",
        packages.len()
    ))))
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
