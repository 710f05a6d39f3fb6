//! What a crate needs to be published.

use anyhow::{Result, ensure};

use super::Outcome;
use crate::workspace::{Package, Workspace};

pub(super) fn check(workspace: &Workspace) -> Result<Outcome> {
    let mut count = 0;
    let mut faults = Vec::new();
    for package in workspace.publishable() {
        faults.extend(missing(package).map(|what| format!("{} has no {what}", package.name)));
        count += 1;
    }
    ensure!(faults.is_empty(), "{}", faults.join(", "));
    Ok(Outcome::Passed(Some(format!(
        "package: {count} crates can be published"
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
