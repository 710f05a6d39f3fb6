use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::backoff::{Backoff, about};

/// Pauses between looks whether the store is back: at first, and at last.
const PROBES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));

/// Keeps messages in the broker while the store is down.
#[derive(Debug)]
pub(crate) struct Breaker {
    failures: AtomicU32,
    limit: u32,
}

impl Breaker {
    pub(crate) const fn new(limit: u32) -> Self {
        Self {
            failures: AtomicU32::new(0),
            limit,
        }
    }

    /// The store has failed. Returns how often it has in a row.
    pub(crate) fn failed(&self) -> u32 {
        self.failures.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The store has answered.
    pub(crate) fn answered(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// How long to wait before the store is asked again, if it has failed too often.
    pub(crate) fn pause(&self) -> Option<Duration> {
        let failures = self.failures.load(Ordering::Relaxed);
        let beyond = failures.checked_sub(self.limit)?;
        Some(about(PROBES.longest(beyond + 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// M33.
    #[test]
    fn a_breaker_opens_after_failures_in_a_row() {
        let breaker = Breaker::new(3);
        for _ in 0..2 {
            breaker.failed();
        }
        assert_eq!(breaker.pause(), None);
        breaker.answered();
        for _ in 0..2 {
            breaker.failed();
        }
        assert_eq!(breaker.pause(), None, "the store has answered in between");
        breaker.failed();
        assert!(breaker.pause().is_some());
        breaker.answered();
        assert_eq!(breaker.pause(), None);
    }
}
