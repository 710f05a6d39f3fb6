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

    pub(crate) fn median(&self) -> Option<f64> {
        median(self.0.clone())
    }
}

/// The figures of the floor and of the toolkit for the same operation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pair {
    pub(crate) floor: Figures,
    pub(crate) ours: Figures,
}

impl Pair {
    /// How many times the floor's the toolkit's figure is: in the middle of all batches, each beside
    /// its neighbour, which the machine's moods meet alike.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let pairs = self.floor.0.iter().zip(&self.ours.0);
        median(pairs.map(|(floor, ours)| ours / floor).collect())
    }
}

/// The one in the middle, if there is any.
fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_unstable_by(f64::total_cmp);
    let (middle, is_odd) = (figures.len() / 2, figures.len() % 2 == 1);
    let above = *figures.get(middle)?;
    if is_odd {
        return Some(above);
    }
    Some(f64::midpoint(figures[middle - 1], above))
}

pub(crate) fn count(calls: usize) -> f64 {
    u32::try_from(calls).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(figures: &[f64]) -> Figures {
        Figures(figures.to_vec())
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(figures(&[]).median(), None);
        assert_eq!(figures(&[3.0, 1.0, 2.0]).median(), Some(2.0));
        assert_eq!(figures(&[4.0, 1.0, 2.0, 3.0]).median(), Some(2.5));
    }

    #[test]
    fn a_ratio_is_of_neighbours() {
        let pair = Pair {
            floor: figures(&[1.0, 10.0, 100.0]),
            ours: figures(&[2.0, 20.0, 300.0]),
        };
        assert_eq!(pair.ratio(), Some(2.0));
        assert_eq!(Pair::default().ratio(), None);
    }
}
