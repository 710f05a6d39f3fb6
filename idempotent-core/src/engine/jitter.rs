use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::lease::Owner;

/// What the numbers of a stream are apart: odd, and without a pattern in its bits.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads the polls of many processes out.
///
/// Nothing depends on these numbers but when somebody looks, so that one draw from the operating
/// system lasts for an engine's life, and a simulation may choose where they start.
#[derive(Debug)]
pub(crate) struct Jitter(AtomicU64);

impl Jitter {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// One whose start is the operating system's choice. Without randomness, all engines agree.
    pub(crate) fn random() -> Self {
        let half = |owner: Owner| *owner.as_bytes().first_chunk().expect("it has 16 bytes");
        Self::new(Owner::random().map_or(0, |owner| u64::from_ne_bytes(half(owner))))
    }

    /// Half of `pause`, and up to all of it.
    pub(crate) fn apply(&self, pause: Duration) -> Duration {
        pause / 2 + pause * u32::from(self.next()) / 510
    }

    fn next(&self) -> u8 {
        let at = self.0.fetch_add(STRIDE, Ordering::Relaxed);
        let [first, ..] = (at ^ (at >> 31)).wrapping_mul(STRIDE).to_be_bytes();
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(1);

    fn pauses(jitter: &Jitter) -> Vec<Duration> {
        (0..1_000).map(|_| jitter.apply(PAUSE)).collect()
    }

    #[test]
    fn pauses_spread_between_half_and_all() {
        let mut pauses = pauses(&Jitter::new(7));
        pauses.sort_unstable();
        assert!(pauses[0] >= PAUSE / 2 && pauses[999] <= PAUSE);
        assert!(pauses[250] < PAUSE * 13 / 20 && pauses[750] > PAUSE * 17 / 20);
    }

    #[test]
    fn a_seed_gives_the_same_pauses_again_and_no_seed_gives_others() {
        assert_eq!(pauses(&Jitter::new(7)), pauses(&Jitter::new(7)));
        assert_ne!(pauses(&Jitter::random()), pauses(&Jitter::random()));
    }
}
