//! Figures, and what is made of many of them.

use std::time::Duration;

/// The figures of one operation, batch by batch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures(Vec<f64>);

impl Figures {
    pub(crate) fn add(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// Adds the nanoseconds that each of `calls` took.
    pub(crate) fn add_time(&mut self, elapsed: Duration, calls: usize) {
        self.add(elapsed.as_secs_f64() * 1e9 / count(calls));
    }

    /// The middle one, or not a number if there is none.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        match (sorted.len() / 2, sorted.len() % 2) {
            (0, 0) => f64::NAN,
            (middle, 0) => f64::midpoint(sorted[middle - 1], sorted[middle]),
            (middle, _) => sorted[middle],
        }
    }
}

/// The figures of the floor and of the toolkit for the same operation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pair {
    pub(crate) floor: Figures,
    pub(crate) ours: Figures,
}

pub(crate) fn count(calls: usize) -> f64 {
    u32::try_from(calls).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        let median = |figures: &[f64]| Figures(figures.to_vec()).median();
        assert!(median(&[]).is_nan());
        assert_eq!(median(&[3.0, 1.0, 2.0]).to_bits(), 2_f64.to_bits());
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]).to_bits(), 2.5_f64.to_bits());
    }
}
