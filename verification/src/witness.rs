//! Notices when the machine itself stands still.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

/// How long the witness sleeps between two looks.
const PAUSE: Duration = Duration::from_millis(40);
/// What sleeping and one flush may take beside that, on a machine that has a lot to do.
const USUAL: Duration = Duration::from_millis(60);

/// A thread that sleeps a little and flushes a file of its own to the disk, again and again. A time
/// in which neither comes to an end proves nothing about a store.
#[derive(Debug)]
pub(crate) struct Witness {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    ended: AtomicBool,
    /// From when to when the machine stood still.
    stalls: Mutex<Vec<(Instant, Instant)>>,
}

impl Witness {
    pub(crate) fn start(file: &Path) -> io::Result<Self> {
        let file = File::create(file)?;
        let shared = Arc::new(Shared::default());
        let watching = Arc::clone(&shared);
        thread::spawn(move || watching.watch(&file));
        Ok(Self { shared })
    }

    /// What excuses a wait between `since` and `until`: the time for which the machine stood still,
    /// and so much again for each of the `turns` that others had before.
    pub(crate) fn excuse(&self, since: Instant, until: Instant, turns: u32) -> Duration {
        let (sum, longest) = overlaps(&self.shared.stalls(), since, until);
        sum + longest * turns
    }

    /// Takes note that nothing could go on from `from` to `to`, for a reason that is known.
    pub(crate) fn note(&self, from: Instant, to: Instant) {
        self.shared.stalls().push((from, to));
    }

    /// The longest time for which the machine stood still.
    pub(crate) fn worst(&self) -> Duration {
        let stalls = self.shared.stalls();
        let lengths = stalls.iter().map(|(from, to)| *to - *from);
        lengths.max().unwrap_or_default()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn stalls(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, Instant)>> {
        self.stalls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self, mut file: &File) {
        while !self.ended.load(Ordering::Relaxed) {
            let from = Instant::now() + PAUSE;
            thread::sleep(PAUSE);
            // A disk that is full stands still for good, which the run itself will notice.
            _ = file.write_all(b".").and_then(|()| file.sync_data());
            let to = Instant::now();
            if to.saturating_duration_since(from) > USUAL {
                self.stalls().push((from, to));
            }
        }
    }
}

/// The sum of what falls into the time from `since` to `until`, and the longest stall that does.
fn overlaps(stalls: &[(Instant, Instant)], since: Instant, until: Instant) -> (Duration, Duration) {
    let mut sums = (Duration::ZERO, Duration::ZERO);
    for (from, to) in stalls {
        let overlap = (*to)
            .min(until)
            .saturating_duration_since((*from).max(since));
        if !overlap.is_zero() {
            sums = (sums.0 + overlap, sums.1.max(*to - *from));
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_falls_into_the_time_counts() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let stalls = [(at(0), at(100)), (at(200), at(300)), (at(900), at(990))];
        let millis = |sum, longest| (Duration::from_millis(sum), Duration::from_millis(longest));
        assert_eq!(overlaps(&stalls, at(50), at(250)), millis(100, 100));
        assert_eq!(overlaps(&stalls, at(0), at(1000)), millis(290, 100));
        assert_eq!(overlaps(&stalls, at(100), at(200)), millis(0, 0));
    }
}
