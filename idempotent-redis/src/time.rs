use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use idempotent_core::{Clock, Timestamp};
use redis::aio::ConnectionLike;
use redis::cmd;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::Error;
use crate::text::whole_millis;

/// How old a comparison with the server's clock may be.
const MAX_AGE: Duration = Duration::from_secs(60);
/// By how much this machine's two clocks may drift apart before a comparison counts as broken: the
/// machine was suspended, or its clock was set.
const MAX_GAP: Duration = Duration::from_secs(1);
/// Of so many comparisons, the one with the quickest reply counts.
const SAMPLES: usize = 5;
/// The longest duration that a record has room for.
const MAX_MILLIS: u64 = 1_000_000_000_000;

/// What this process knows of the server's clock: never more than the server's own time, and less
/// by one round trip at most.
///
/// In a cluster, it is the clock of some node. Nodes need to agree about the time as far as results
/// are kept; they need not agree about milliseconds.
#[derive(Debug, Default)]
pub(crate) struct ServerClock {
    comparison: RwLock<Option<Comparison>>,
    comparing: Mutex<()>,
}

/// A moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) server: Timestamp,
    here: Here,
}

#[derive(Clone, Copy, Debug)]
struct Comparison {
    server: Timestamp,
    here: Here,
}

/// A moment on this machine's clocks. One of them never steps, the other goes on while the machine
/// is suspended.
#[derive(Clone, Copy, Debug)]
struct Here {
    monotonic: Instant,
    wall: Timestamp,
}

impl ServerClock {
    /// The present moment.
    pub(crate) async fn now<C>(&self, connection: &C) -> Result<Moment, Error>
    where
        C: ConnectionLike + Clone + Send + Sync,
    {
        if let Some(moment) = self.estimate() {
            return Ok(moment);
        }
        let _comparing = self.comparing.lock().await;
        if let Some(moment) = self.estimate() {
            return Ok(moment);
        }
        let mut best = compare(connection).await?;
        for _ in 1..SAMPLES {
            let next = compare(connection).await?;
            // The server's time was read before its reply came. The quicker the reply, the more
            // the server is ahead of the time that passed here.
            if next.server.since(best.server) > next.here.monotonic - best.here.monotonic {
                best = next;
            }
        }
        *self
            .comparison
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(best);
        Ok(best.extrapolate(Here::now()))
    }

    /// Counts on from the last comparison, unless it is too old, or broken.
    fn estimate(&self) -> Option<Moment> {
        let comparison = *self
            .comparison
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let (comparison, here) = (comparison?, Here::now());
        let monotonic = here.monotonic - comparison.here.monotonic;
        let wall = here.wall.since(comparison.here.wall);
        let usable = monotonic < MAX_AGE && monotonic.abs_diff(wall) < MAX_GAP;
        usable.then(|| comparison.extrapolate(here))
    }
}

impl Moment {
    /// How long ago this was, at most: by whichever clock of this machine counts more.
    pub(crate) fn elapsed(&self) -> Duration {
        let now = Here::now();
        (now.monotonic - self.here.monotonic).max(now.wall.since(self.here.wall))
    }
}

impl Comparison {
    fn extrapolate(self, here: Here) -> Moment {
        let server = self.server.plus(here.monotonic - self.here.monotonic);
        Moment { server, here }
    }
}

impl Here {
    fn now() -> Self {
        Self {
            monotonic: Instant::now(),
            wall: Clock::system().now(),
        }
    }
}

async fn compare<C>(connection: &C) -> Result<Comparison, Error>
where
    C: ConnectionLike + Clone + Send + Sync,
{
    let (seconds, micros): (u64, u64) = cmd("TIME").query_async(&mut connection.clone()).await?;
    // After the reply, so that the estimate is never ahead of the server.
    Ok(Comparison {
        server: timestamp(seconds, micros),
        here: Here::now(),
    })
}

/// The moment that the command `TIME` gives in two parts.
pub(crate) const fn timestamp(seconds: u64, micros: u64) -> Timestamp {
    Timestamp::from_micros(seconds.saturating_mul(1_000_000).saturating_add(micros))
}

/// Whole milliseconds, rounded up. Fails below 1 ms, where an expiry would delete at once, and where
/// a record has no room.
pub(crate) fn millis(what: &'static str, value: Duration) -> Result<u64, Error> {
    let millis = whole_millis(value);
    if value < Duration::from_millis(1) || millis > MAX_MILLIS {
        return Err(Error::Duration { what, value });
    }
    Ok(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_up_and_kept_in_range() {
        assert_eq!(millis("lease", Duration::from_micros(1_001)).unwrap(), 2);
        assert_eq!(
            millis("ttl", Duration::from_millis(MAX_MILLIS)).unwrap(),
            MAX_MILLIS
        );
        for out in [Duration::ZERO, Duration::from_micros(999), Duration::MAX] {
            assert!(matches!(millis("ttl", out), Err(Error::Duration { .. })));
        }
    }
}
