use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Counts from the moment it was started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch {
    started: Instant,
}

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "what is measured is the time on the wall"
    )]
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
        }
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.started.elapsed()
    }
}

/// For how long all threads of this program have run, which no other program's needs change.
pub(crate) fn processor_time() -> Result<Duration> {
    let threads = fs::read_dir("/proc/self/task");
    let threads = threads.context("only Linux tells for how long a program has run")?;
    let nanos = threads.map(|thread| {
        let times = match fs::read_to_string(thread?.path().join("schedstat")) {
            Ok(times) => times,
            // It was idle, and has ended since it was listed.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let running = times.split_whitespace().next();
        anyhow::Ok(running.context("no time")?.parse::<u64>()?)
    });
    Ok(Duration::from_nanos(nanos.sum::<Result<u64>>()?))
}
