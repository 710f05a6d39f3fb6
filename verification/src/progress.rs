//! How far a run is.

use std::io::{IsTerminal, stderr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::report::in_words;

/// How far a run is, on the standard error.
#[derive(Debug)]
pub(crate) struct Progress {
    title: String,
    total: u64,
    done: AtomicU64,
    started: Instant,
    /// When the next line is due, in milliseconds after the start; `u64::MAX` for never.
    due: AtomicU64,
}

impl Progress {
    pub(crate) fn new(title: String, total: u64, shown: bool) -> Self {
        Self {
            title,
            total,
            done: AtomicU64::new(0),
            started: Instant::now(),
            due: AtomicU64::new(if shown { 0 } else { u64::MAX }),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Counts a round.
    pub(crate) fn tick(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let elapsed = self.elapsed();
        let now = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let due = self.due.load(Ordering::Relaxed);
        let is_last = done == self.total && due != u64::MAX;
        if now < due && !is_last {
            return;
        }
        let is_terminal = stderr().is_terminal();
        let pause = if is_terminal { 200 } else { 10_000 };
        self.due.store(now + pause, Ordering::Relaxed);
        let rest = self.total.saturating_sub(done);
        let left = Duration::from_millis(now.saturating_mul(rest) / done);
        let (start, end) = match (is_terminal, is_last) {
            (true, true) => ("\r\u{1b}[K", "\n"),
            (true, false) => ("\r\u{1b}[K", ""),
            (false, _) => ("", "\n"),
        };
        eprint!(
            "{start}{}: {done} of {}, {} so far, about {} left{end}",
            self.title,
            self.total,
            in_words(elapsed),
            in_words(left),
        );
    }
}
