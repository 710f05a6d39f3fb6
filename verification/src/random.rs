//! Random numbers that a seed reproduces.

use std::time::Duration;

/// A stream of numbers. Two streams of one seed have nothing in common.
///
/// This is `SplitMix64`. What a round does depends on its seed and number alone, so that it can be
/// planned again; what comes of it depends on the machine, too.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut mixer = Self(seed);
        let start = mixer.next() ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93);
        Self(Self(start).next())
    }

    /// A stream of its own for a part of what is planned.
    pub(crate) fn fork(&mut self) -> Self {
        Self::new(self.next(), 0)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number less than `limit`, which is not zero.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// True in `percent` of a hundred cases.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A duration up to `limit`, in microseconds.
    pub(crate) fn up_to(&mut self, limit: Duration) -> Duration {
        let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros(self.below(micros + 1))
    }

    /// One of `choices`, each with its weight.
    pub(crate) fn choose<T: Copy>(&mut self, choices: &[(u64, T)]) -> T {
        let mut left = self.below(choices.iter().map(|(weight, _)| weight).sum());
        for (weight, choice) in choices {
            if left < *weight {
                return *choice;
            }
            left -= weight;
        }
        unreachable!("the weights add up to more than what was drawn")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_a_stream_give_the_same_numbers_again() {
        let draw = |seed, stream| {
            let mut random = Random::new(seed, stream);
            [random.below(1 << 40), random.below(1 << 40)]
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }

    #[test]
    fn choices_come_by_their_weights() {
        let mut random = Random::new(7, 0);
        let drawn = (0..1000).filter(|_| random.choose(&[(3, true), (1, false)]));
        let count = drawn.count();
        assert!((650..850).contains(&count), "{count}");
    }
}
