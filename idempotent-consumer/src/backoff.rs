//! How long to wait before a message is tried again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// The pauses between the attempts at a message: at first up to `base`, each up to twice as long as the
/// one before, and never longer than `cap`. The whole of each is drawn at random, so that messages which
/// have failed together do not come back together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Backoff {
    /// The longest that the first pause can be.
    pub base: Duration,
    /// The longest that any can be.
    pub cap: Duration,
}

impl Backoff {
    /// Pauses of up to `base` at first, and `cap` at last.
    #[must_use]
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap }
    }

    /// A pause after so many failures, the last included.
    pub(crate) fn after(&self, failures: u32) -> Duration {
        self.longest(failures).mul_f64(fraction())
    }

    /// The longest that the pause after so many failures can be.
    pub(crate) fn longest(&self, failures: u32) -> Duration {
        let doubled = 2_u32.checked_pow(failures.saturating_sub(1));
        let pause = doubled.and_then(|times| self.base.checked_mul(times));
        pause.map_or(self.cap, |pause| pause.min(self.cap))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(5 * 60))
    }
}

/// `pause`, give or take a fifth of it.
pub(crate) fn about(pause: Duration) -> Duration {
    pause.mul_f64(0.8 + 0.4 * fraction())
}

/// A number from 0 to 1 that nothing depends on but when somebody tries again.
fn fraction() -> f64 {
    // Each of these has keys of its own.
    let number = RandomState::new().build_hasher().finish();
    let [a, b, c, d, ..] = number.to_be_bytes();
    f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// M30.
    #[test]
    fn a_pause_doubles_up_to_its_cap() {
        let backoff = Backoff::default();
        let seconds = |failures| backoff.longest(failures).as_secs();
        assert_eq!([1, 2, 3, 9].map(seconds), [1, 2, 4, 256]);
        assert_eq!([10, 11, 40, u32::MAX].map(seconds), [300; 4]);
    }

    /// M30: full jitter.
    #[test]
    fn pauses_are_spread_over_the_whole_of_what_they_can_be() {
        let backoff = Backoff::default();
        let pauses: Vec<_> = (0..400).map(|_| backoff.after(10)).collect();
        let below = |limit: u64| {
            let limit = Duration::from_secs(limit);
            pauses.iter().filter(|pause| **pause < limit).count()
        };
        assert!(pauses.iter().all(|pause| *pause <= backoff.cap));
        assert!(below(75) > 50 && below(150) < 300 && below(225) < 380);
    }

    /// M14.
    #[test]
    fn about_is_a_fifth_more_or_less() {
        let second = Duration::from_secs(1);
        for _ in 0..400 {
            let pause = about(second);
            assert!(
                pause >= second * 4 / 5 && pause <= second * 6 / 5,
                "{pause:?}"
            );
        }
    }
}
