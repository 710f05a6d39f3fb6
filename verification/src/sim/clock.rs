//! The time of a simulation. Nobody in it reads any other clock.

use std::time::Duration;

use idempotency::Timestamp;

/// Where a simulation's time begins: late enough for fences to look like those of a real store.
pub(super) const EPOCH: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

/// How long the simulation has run, as the host that asks sees it.
pub(super) fn elapsed() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

/// What every host's wall clock shows.
pub(super) fn now() -> Timestamp {
    EPOCH.plus(elapsed())
}
