//! What the project depends on: how much, under which licences, and since which version.

use std::{collections::BTreeSet, fs, io, path::Path};

use anyhow::{Context, Result, bail, ensure};

use super::Outcome;
use crate::{
    process::{capture, cargo, root, run, succeeds},
    workspace::Workspace,
};

/// A user of the facade with its default features builds fewer crates than this, ours included.
const CRATES_BELOW: usize = 60;

/// Crates that would bring a system library for TLS.
const UNWANTED: [&str; 3] = ["openssl", "openssl-sys", "native-tls"];

/// Counts the crates of the facade with its default features, and looks for OpenSSL in all.
pub(super) fn size() -> Result<Outcome> {
    let count = crates(&["--edges", "normal"])?.len();
    ensure!(
        count < CRATES_BELOW,
        "the facade takes {count} crates, not below {CRATES_BELOW}"
    );

    let all = crates(&[
        "--edges",
        "normal,build",
        "--all-features",
        "--target",
        "all",
    ])?;
    if let Some(unwanted) = all.iter().find(|krate| UNWANTED.contains(&name_of(krate))) {
        bail!("the facade takes {unwanted}; `cargo tree --invert {unwanted}` tells why");
    }
    Ok(Outcome::Passed(Some(format!(
        "size: {count} crates, of fewer than {CRATES_BELOW}"
    ))))
}

pub(super) fn deny() -> Result<Outcome> {
    if !succeeds(&mut cargo(["deny", "--version"])) {
        let reason = "cargo-deny is not installed; this check alone is optional";
        return Ok(Outcome::Skipped(reason.into()));
    }
    let checks = ["bans", "licenses", "sources"];
    run(cargo(["deny", "--workspace", "--all-features", "check"]).args(checks))?;
    Ok(Outcome::Passed(None))
}

/// Checks that the versions in the manifests are new enough, in a copy of the workspace.
///
/// A copy, because cargo takes the versions from the only `Cargo.lock` there is.
pub(super) fn minimal(workspace: &Workspace) -> Result<Outcome> {
    let copy = workspace.target.join("xtask/minimal");
    if copy.exists() {
        fs::remove_dir_all(&copy)?;
    }
    copy_sources(root(), &copy, &workspace.target).context("cannot copy the workspace")?;
    let update = ["update", "-Zdirect-minimal-versions"];
    run(cargo(update).current_dir(&copy).env("RUSTC_BOOTSTRAP", "1"))?;
    let check = ["check", "--workspace", "--all-features", "--target-dir"];
    run(cargo(check)
        .arg(workspace.target.join("minimal"))
        .current_dir(&copy))?;
    Ok(Outcome::Passed(None))
}

/// Lists the crates below the facade, each as its name and version.
fn crates(selection: &[&str]) -> Result<BTreeSet<String>> {
    let mut command = cargo(["tree", "--package", "idempotency", "--prefix", "none"]);
    let tree = capture(command.args(selection))?;
    Ok(tree.lines().filter_map(name_and_version).collect())
}

/// Reads the first two words of `serde v1.0.228 (proc-macro) (*)`.
fn name_and_version(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    Some(format!("{} {}", words.next()?, words.next()?))
}

fn name_of(krate: &str) -> &str {
    krate.split(' ').next().unwrap_or(krate)
}

/// Copies the folder without hidden files and without `target`.
fn copy_sources(from: &Path, to: &Path, target: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let Some(name) = path.file_name() else {
            continue;
        };
        if name.as_encoded_bytes().starts_with(b".") || path == target {
            continue;
        }
        if path.is_dir() {
            copy_sources(&path, &to.join(name), target)?;
        } else {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_counted_once_whatever_cargo_adds_to_its_line() {
        let lines = [
            "serde v1.0.228",
            "serde v1.0.228 (*)",
            "idempotency v0.1.0 (/folder)",
            "",
        ];
        let crates: BTreeSet<_> = lines.into_iter().filter_map(name_and_version).collect();
        assert_eq!(
            crates.into_iter().collect::<Vec<_>>(),
            ["idempotency v0.1.0", "serde v1.0.228"]
        );
    }
}
