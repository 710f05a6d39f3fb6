use std::fs;
use std::time::{Duration, Instant};

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
///
/// `None` where the system does not tell: only Linux does.
pub(crate) fn processor_time() -> Option<Duration> {
    let nanos = fs::read_dir("/proc/self/task")
        .ok()?
        .map(|thread| {
            let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum::<Option<u64>>()?;
    Some(Duration::from_nanos(nanos))
}
