use std::process::Command;
use std::time::Duration;
use std::{fs, io, thread};

use rustix::process::{Pid, Signal, kill_process};

use super::installation::{INSTALL, PROGRAM};
use crate::server::ServerError;
use crate::server::process::Process;

/// How often, and how long apart, a server that was asked to stop or to end is looked at.
const TRIES: usize = 1_000;
const PAUSE: Duration = Duration::from_millis(5);

/// The processes of one server: the one that was started, and those that it starts for its
/// connections and its own work.
///
/// They are found where Linux tells of them. Elsewhere, only the first one is paused, and the others
/// end by themselves a moment after it was killed.
#[derive(Debug)]
pub(super) struct Cluster(Process);

impl Cluster {
    pub(super) fn start(command: &mut Command) -> Result<Self, ServerError> {
        Process::start(command, PROGRAM, INSTALL).map(Self)
    }

    pub(super) fn has_ended(&mut self) -> io::Result<bool> {
        self.0.has_ended()
    }

    /// Ends all of them at once.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        if self.has_ended()? {
            return Ok(());
        }
        // Stopped first, so that it starts no others meanwhile.
        self.stop_first()?;
        let children = self.children()?;
        for child in &children {
            signal(*child, Signal::KILL);
        }
        self.0.kill()?;
        // Their memory is shared, and the next server does not start before they are gone.
        wait_until(|| children.iter().all(|child| has_ended(*child)));
        Ok(())
    }

    pub(super) fn pause(&self) -> io::Result<()> {
        self.stop_first()?;
        for child in self.children()? {
            signal(child, Signal::STOP);
        }
        Ok(())
    }

    pub(super) fn resume(&self) -> io::Result<()> {
        for child in self.children()? {
            signal(child, Signal::CONT);
        }
        self.0.resume()
    }

    /// Stops the process that starts the others, and waits until it stands: on another core it may go on
    /// for a moment after the signal, and start one more.
    fn stop_first(&self) -> io::Result<()> {
        self.0.pause()?;
        let first = self.0.pid();
        wait_until(|| status(first).is_none_or(|(state, _)| state == "T"));
        Ok(())
    }

    fn children(&self) -> io::Result<Vec<Pid>> {
        let parent = self.0.pid();
        let Ok(processes) = fs::read_dir("/proc") else {
            return Ok(Vec::new());
        };
        let mut children = Vec::new();
        for process in processes {
            let name = process?.file_name();
            let pid = name.to_str().and_then(|name| name.parse().ok());
            if let Some(pid) = pid.and_then(Pid::from_raw)
                && status(pid).is_some_and(|(_, of)| of == parent)
            {
                children.push(pid);
            }
        }
        Ok(children)
    }

    /// Asks the server to end without tidying its files, as it is about to lose them. It then gives
    /// back the system's shared memory, which a kill would leave behind.
    fn quit(&mut self) -> io::Result<()> {
        self.resume()?;
        self.0.signal(Signal::QUIT)?;
        wait_until(|| self.has_ended().unwrap_or(true));
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It may have been killed before; nobody is left to be told.
        if let Ok(false) = self.has_ended() {
            _ = self.quit();
            _ = self.kill();
        }
    }
}

/// Waits until it is so, but not for ever.
fn wait_until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..TRIES {
        if is_so() {
            break;
        }
        thread::sleep(PAUSE);
    }
}

fn signal(pid: Pid, signal: Signal) {
    // It may have ended by itself.
    _ = kill_process(pid, signal);
}

fn has_ended(pid: Pid) -> bool {
    status(pid).is_none_or(|(state, _)| state == "Z" || state == "X")
}

/// The state and the parent of a process, from `17 (postgres) S 12 ..`.
fn status(pid: Pid) -> Option<(String, Pid)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.to_owned();
    Some((state, Pid::from_raw(fields.next()?.parse().ok()?)?))
}
