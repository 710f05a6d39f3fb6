//! What starting a server takes, whatever it serves.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;
use std::{fs, io, thread};

use tempfile::TempDir;

use super::ServerError;

/// How often a new server is asked whether it is ready.
const READY_TRIES: usize = 1_000;
/// A free port may be taken between its choice and its use.
const PORT_TRIES: usize = 5;
/// How much of a log is shown, in characters.
const LOG_TAIL: usize = 2_000;

/// A directory for the files and the socket of a server.
pub(super) fn directory() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("idempotent-").tempdir()
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// Starts a server, and again if it `has_port`, which somebody else may have taken.
pub(super) fn try_ports<S>(
    has_port: bool,
    start: impl Fn() -> Result<S, ServerError>,
) -> Result<S, ServerError> {
    let mut last = start();
    for _ in 1..PORT_TRIES {
        match last {
            Err(ServerError::NotReady { .. }) if has_port => last = start(),
            _ => break,
        }
    }
    last
}

/// Asks `is_ready`, with a `pause` between the tries, until it is, or has ended. Its log is in
/// `directory`.
pub(super) fn wait_until_ready(
    directory: &Path,
    pause: Duration,
    mut has_ended: impl FnMut() -> io::Result<bool>,
    is_ready: impl Fn() -> io::Result<bool>,
) -> Result<(), ServerError> {
    for _ in 0..READY_TRIES {
        if has_ended()? {
            break;
        }
        if is_ready()? {
            return Ok(());
        }
        thread::sleep(pause);
    }
    let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
    let tail = log.char_indices().rev().nth(LOG_TAIL);
    let tail = tail.map_or(0, |(at, _)| at);
    Err(ServerError::NotReady {
        log: log[tail..].to_owned(),
    })
}
