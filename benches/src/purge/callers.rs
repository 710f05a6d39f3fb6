//! Callers who never stop, and what they noticed in a span of time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::clock::Stopwatch;
use crate::orders::{Desk, Ours, orders};
use crate::rounds::count;

/// How many call at a time.
pub(super) const CALLERS: usize = 16;
/// More calls than all of them make.
const MOST_CALLS: usize = 1_000_000_000;

/// From one moment to another, both since the start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    from: Duration,
    to: Duration,
}

/// First calls: when each has ended, since the start, and how long it took.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<(Duration, Duration)>);

/// Calls, and the time that counts.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) calls: Calls,
    pub(super) span: Span,
}

/// Callers, each of whose calls has a new order.
#[derive(Debug)]
pub(super) struct Callers {
    desk: Ours,
    /// How many of each caller's orders have been taken, at most.
    taken: usize,
}

impl Callers {
    pub(super) const fn new(desk: Ours) -> Self {
        Self { desk, taken: 0 }
    }

    /// Has all of them call again and again for `phase`, after so long that does not count.
    pub(super) async fn watch(&mut self, warm_up: Duration, phase: Duration) -> Result<Watched> {
        let watch = Stopwatch::start();
        let waited = async {
            sleep(warm_up).await;
            let from = watch.elapsed();
            sleep(phase).await;
            Ok(Span::new(from, watch.elapsed()))
        };
        let (calls, span) = self.during(watch, waited).await?;
        Ok(Watched { calls, span })
    }

    /// Has all of them call again and again while something else is done.
    pub(super) async fn during<T>(
        &mut self,
        watch: Stopwatch,
        work: impl Future<Output = Result<T>>,
    ) -> Result<(Calls, T)> {
        let (mut tasks, stop) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
        for caller in 1..=CALLERS {
            let first = caller * MOST_CALLS + self.taken;
            tasks.spawn(call(self.desk.clone(), first, watch, Arc::clone(&stop)));
        }
        let done = work.await;
        stop.store(true, Ordering::Relaxed);
        let mut all = Calls::default();
        while let Some(calls) = tasks.join_next().await {
            let calls = calls??;
            all.0.extend(calls.0);
        }
        self.taken += all.0.len();
        Ok((all, done?))
    }
}

async fn call(desk: Ours, first: usize, watch: Stopwatch, stop: Arc<AtomicBool>) -> Result<Calls> {
    let mut calls = Calls::default();
    for number in first.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let order = orders(number, 1).pop().context("one order")?;
        let taking = Stopwatch::start();
        desk.take(order).await?;
        calls.0.push((watch.elapsed(), taking.elapsed()));
    }
    Ok(calls)
}

impl Span {
    pub(super) const fn new(from: Duration, to: Duration) -> Self {
        Self { from, to }
    }

    pub(super) fn seconds(self) -> f64 {
        self.to.saturating_sub(self.from).as_secs_f64()
    }
}

impl Watched {
    /// How many calls have ended in a second.
    pub(super) fn rate(&self) -> Result<f64> {
        Ok(count(self.took()?.len()) / self.span.seconds())
    }

    /// Than how many nanoseconds 99 in 100 calls took no longer.
    pub(super) fn late(&self) -> Result<f64> {
        let mut took = self.took()?;
        took.sort_unstable();
        let late = took[(took.len() - 1) * 99 / 100];
        Ok(late.as_secs_f64() * 1e9)
    }

    /// How long those calls took that have ended in time, of which there is one at least.
    fn took(&self) -> Result<Vec<Duration>> {
        let Self { calls, span } = self;
        let within = calls
            .0
            .iter()
            .filter(|(ended, _)| (span.from..span.to).contains(ended));
        let took: Vec<_> = within.map(|(_, took)| *took).collect();
        ensure!(!took.is_empty(), "no call has ended in {span:?}");
        Ok(took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_ended_in_time_counts() {
        let millis = Duration::from_millis;
        let watched = |from, to| Watched {
            calls: Calls(
                (1..=200)
                    .map(|number| (millis(10 * number), millis(number)))
                    .collect(),
            ),
            span: Span::new(millis(from), millis(to)),
        };
        let rate = watched(1_000, 2_000).rate().unwrap();
        assert!((rate - 100.0).abs() < 1e-9, "{rate}");
        let late = watched(0, 2_001).late().unwrap();
        assert!((late - 198e6).abs() < 1.0, "{late}");
        watched(3_000, 4_000).rate().unwrap_err();
    }
}
