//! A harness that is killed leaves no process and no file behind.

#![cfg(target_os = "linux")]

use std::fs;
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

fn is_empty(directory: &Path) -> bool {
    let mut files = fs::read_dir(directory).expect("the directory is there");
    files.next().is_none()
}

#[test]
fn a_killed_harness_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().to_str().unwrap();
    // Stopped workers do not see the end of their input, so this is the hardest kind.
    let mut harness = Command::new(PROGRAM)
        .args(["chaos", "stop", "--store", "redis", "--rounds", "100000"])
        .env("TMPDIR", directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Workers, a guard and a server, all of which have a path in the directory as an argument.
    wait_until("all have started", || processes(text).len() > 10);
    sleep(Duration::from_millis(200));
    harness.kill().unwrap();
    harness.wait().unwrap();
    wait_until("all have ended", || processes(text).is_empty());
    wait_until("all files are gone", || is_empty(directory.path()));
}
