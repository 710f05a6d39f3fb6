use std::fmt;
use std::time::Duration;

use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use crate::fingerprint::Fingerprint;
use crate::key::{HashOfKey, Key};
use crate::protocol::Recorded;
use crate::sync::time::Instant;

/// Finished records in this process's memory, for replays without a round trip.
///
/// A record is kept no longer than its store keeps it, and is never returned before the fingerprint
/// has been checked. What is dropped from here costs a round trip, and nothing else.
pub(crate) struct NearCache(Cache<Key, Near, UnitWeighter, HashOfKey>);

#[derive(Clone)]
struct Near {
    recorded: Recorded,
    until: Instant,
}

/// What is near.
pub(crate) enum Nearby {
    Done(Recorded),
    Mismatch,
}

impl NearCache {
    pub(crate) fn new(records: usize) -> Self {
        let weight = u64::try_from(records).unwrap_or(u64::MAX);
        Self(Cache::with(
            records,
            weight,
            UnitWeighter,
            HashOfKey::default(),
            DefaultLifecycle::default(),
        ))
    }

    pub(crate) fn get(&self, key: &Key, fingerprint: Fingerprint) -> Option<Nearby> {
        let near = self.0.get(key)?;
        if near.until <= Instant::now() {
            self.0.remove(key);
            return None;
        }
        let same = near.recorded.fingerprint == fingerprint;
        Some(if same {
            Nearby::Done(near.recorded)
        } else {
            Nearby::Mismatch
        })
    }

    /// Keeps `recorded` for `remaining` from `asked`, the moment before the store was asked.
    pub(crate) fn put(&self, key: &Key, recorded: Recorded, asked: Instant, remaining: Duration) {
        if let Some(until) = asked.checked_add(remaining) {
            self.0.insert(key.clone(), Near { recorded, until });
        }
    }
}

impl fmt::Debug for NearCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearCache")
            .field("records", &self.0.len())
            .finish_non_exhaustive()
    }
}
