//! A harness that is killed leaves no process and no file behind.

#![cfg(target_os = "linux")]

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_verification");

/// The processes that have `text` in their command line.
fn processes(text: &str) -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").expect("this is Linux").flatten();
    let paths = processes.map(|entry| entry.path());
    let found = paths.filter(|path| {
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    });
    found.collect()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(20));
    }
    panic!("not in time: {what}");
}

/// Whether nothing is in `directory` but the files of an empty server, which are kept for the next.
fn is_empty(directory: &Path) -> bool {
    let files = fs::read_dir(directory).expect("the directory is there");
    let mut names = files.flatten().map(|file| file.file_name());
    let is_kept = |name: &str| name.starts_with("idempotent-testkit-");
    names.all(|name| is_kept(&name.to_string_lossy()))
}

fn check(store: &str) -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    let text = &*directory.path().to_string_lossy();
    // A server that may not run as root has to reach its files.
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
    // Stopped workers do not see the end of their input, so this is the hardest kind.
    let mut harness = Command::new(PROGRAM)
        .args(["chaos", "stop", "--store", store, "--rounds", "100000"])
        .env("TMPDIR", directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    // Workers, a guard and a server, all of which have a path in the directory as an argument.
    wait_until("all have started", || processes(text).len() > 10);
    sleep(Duration::from_millis(200));
    harness.kill()?;
    harness.wait()?;
    wait_until("all have ended", || processes(text).is_empty());
    wait_until("all files are gone", || is_empty(directory.path()));
    Ok(())
}

#[test]
fn a_killed_harness_leaves_nothing_behind() -> io::Result<()> {
    check("redis")
}

#[test]
fn a_killed_harness_leaves_no_postgres_behind() -> io::Result<()> {
    check("postgres")
}
