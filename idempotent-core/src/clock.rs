//! Time as stores count it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::sync::time::Instant;

/// A moment of a store's own clock, in whole microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment `micros` microseconds after the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The moment `duration` later; the end of time if there is none.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }

    /// The moment `duration` earlier; the epoch if there is none.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }

    /// How long ago `earlier` was; zero if it is still to come.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The same moment for the standard library.
    #[must_use]
    pub fn to_system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.0)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// What a store in this process reads the time from.
///
/// Callers never compare clocks: a store decides by its own, and only durations cross the
/// [`Store`](crate::Store) trait.
///
/// # Clone
///
/// Clones of a manual clock move together.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    Manual(Arc<AtomicU64>),
    Monotonic { epoch: Timestamp, started: Instant },
    System,
}

impl Clock {
    /// A clock that only [`advance`](Self::advance) moves, for tests.
    #[must_use]
    pub fn manual() -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(
            system_time().as_micros(),
        ))))
    }

    /// A clock that never steps back. It starts at the system's time, and follows
    /// `tokio::time::pause` and `advance`.
    #[must_use]
    pub fn monotonic() -> Self {
        Self(Source::Monotonic {
            epoch: system_time(),
            started: Instant::now(),
        })
    }

    /// The system's wall clock, which every process of a machine shares. It may step.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::Manual(now) => Timestamp(now.load(Ordering::SeqCst)),
            Source::Monotonic { epoch, started } => epoch.plus(started.elapsed()),
            Source::System => system_time(),
        }
    }

    /// Moves a manual clock forward.
    ///
    /// # Panics
    ///
    /// If the clock is not a manual one.
    pub fn advance(&self, by: Duration) {
        match &self.0 {
            Source::Manual(now) => _ = now.fetch_add(micros(by), Ordering::SeqCst),
            Source::Monotonic { .. } | Source::System => panic!("only a manual clock can be moved"),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manual(_) => "manual",
            Self::Monotonic { .. } => "monotonic",
            Self::System => "system",
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock that the lint points to"
)]
fn system_time() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(micros(since_epoch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_a_manual_clock_move_together() {
        let clock = Clock::manual();
        let before = clock.now();
        clock.clone().advance(Duration::from_secs(1));
        assert_eq!(clock.now().since(before), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_monotonic_clock_follows_paused_time() {
        let clock = Clock::monotonic();
        let before = clock.now();
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(clock.now().since(before), Duration::from_secs(90));
    }

    #[test]
    fn arithmetic_ends_at_the_ends_of_time() {
        let late = Timestamp::from_micros(u64::MAX - 1);
        assert_eq!(late.plus(Duration::MAX), Timestamp::from_micros(u64::MAX));
        assert_eq!(
            Timestamp::from_micros(5).minus(Duration::MAX),
            Timestamp::default()
        );
        assert_eq!(Timestamp::default().since(late), Duration::ZERO);
    }
}
