use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a delivery is held that takes the last place.
const LAST_PLACE: Duration = Duration::from_secs(1);

/// The deliveries that wait here because their broker cannot wait.
///
/// Each takes a place of those that the broker delivers to. Whoever takes the last one goes back soon,
/// so that held messages never keep others out for long; and not at once, for a broker that cannot wait
/// delivers thousands of times in a second.
#[derive(Debug)]
pub(crate) struct Holds {
    held: AtomicUsize,
    places: usize,
}

/// A delivery that is held.
#[derive(Debug)]
pub(crate) struct Hold<'a> {
    holds: &'a Holds,
    is_last: bool,
}

impl Holds {
    pub(crate) const fn new(places: usize) -> Self {
        Self {
            held: AtomicUsize::new(0),
            places,
        }
    }

    pub(crate) fn hold(&self) -> Hold<'_> {
        let others = self.held.fetch_add(1, Ordering::Relaxed);
        Hold {
            holds: self,
            is_last: others + 1 >= self.places,
        }
    }
}

impl Hold<'_> {
    /// How long to hold what wants to be held for this long.
    pub(crate) fn pause(&self, wanted: Duration) -> Duration {
        if self.is_last {
            wanted.min(LAST_PLACE)
        } else {
            wanted
        }
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.holds.held.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// M49.
    #[test]
    fn the_last_place_is_given_back_soon() {
        let holds = Holds::new(3);
        let minute = Duration::from_secs(60);
        let first = holds.hold();
        let second = holds.hold();
        assert_eq!(
            (first.pause(minute), second.pause(minute)),
            (minute, minute)
        );
        let last = holds.hold();
        assert_eq!(last.pause(minute), LAST_PLACE);
        assert_eq!(last.pause(LAST_PLACE / 2), LAST_PLACE / 2);
        drop(first);
        drop(last);
        assert_eq!(holds.hold().pause(minute), minute);
    }
}
