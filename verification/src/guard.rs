//! Ends the servers of a harness that was itself killed.
//!
//! Workers notice that their harness is gone; a server does not. So each run has a guard, which is
//! told of its servers, and cleans up when its input ends.

use std::fs;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;

/// How often, and how long apart, a directory is tried to be removed.
const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_millis(20);

/// The guard of a run, as the harness sees it.
#[derive(Debug)]
pub(crate) struct Guard(ChildStdin);

impl Guard {
    /// Starts a guard over `directory`.
    pub(crate) fn start(program: &Path, directory: &Path) -> Result<Self> {
        let mut child = tokio::process::Command::new(program)
            .arg("guard")
            .arg(directory)
            .stdin(Stdio::piped())
            .spawn()
            .with_context(|| format!("`{}` does not start", program.display()))?;
        Ok(Self(child.stdin.take().context("the input is piped")?))
    }

    /// Entrusts it with the server that has this process id.
    pub(crate) async fn watch(&mut self, pid: &str) -> Result<()> {
        Ok(self.0.write_all(format!("{pid}\n").as_bytes()).await?)
    }
}

/// Waits for the end of the input, then kills each server whose process id was on it, if it still
/// runs, and removes its directory and `directory`.
///
/// # Errors
///
/// If the input cannot be read.
pub fn run(directory: &Path) -> Result<()> {
    let mut servers = Vec::new();
    for line in io::stdin().lock().lines() {
        let pid = line?.trim().parse()?;
        // Found now, so that a process which comes to have the same id later is not mistaken for it.
        servers.extend(working_directory(pid).map(|directory| (pid, directory)));
    }
    for (pid, directory) in servers {
        if working_directory(pid).as_ref() == Some(&directory)
            && let Some(pid) = Pid::from_raw(pid)
        {
            let (signal, directory) = end_of(&directory);
            kill_process(pid, signal)?;
            remove(directory)?;
        }
    }
    remove(directory)
}

/// How a server that runs in `directory` is ended, and what is removed then.
fn end_of(directory: &Path) -> (Signal, &Path) {
    match directory.parent() {
        // It runs in a folder of its temporary directory, and gives back the system's shared memory
        // only if it is asked to end at once.
        Some(parent) if directory.join("PG_VERSION").exists() => (Signal::QUIT, parent),
        _ => (Signal::KILL, directory),
    }
}

/// Removes a directory in which a dying process may still write.
fn remove(directory: &Path) -> Result<()> {
    let mut tries = 0;
    while let Err(error) = fs::remove_dir_all(directory)
        && error.kind() != io::ErrorKind::NotFound
    {
        tries += 1;
        ensure!(tries < TRIES, "{} stays: {error}", directory.display());
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Where the process runs, which for a server of a run is a temporary directory of its own. Only
/// Linux tells; elsewhere a server stays behind.
fn working_directory(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/cwd")).ok()
}
