mod inspect;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::error::StoreError;
use crate::key::{self, HashOfKey, Key};
use crate::protocol::{
    self, Claim, ClaimRequest, Completion, Grant, Holder, Release, StepReply, Update,
};
use crate::record::{Record, Step};
use crate::store::{Store, Watch, Watchers};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard, lock};

const SHARDS: usize = 64;
const DEFAULT_CAPACITY: usize = 1_000_000;
/// How much later than its record's end a deadline may be without being written anew.
const DEADLINE_SLACK: Duration = Duration::from_secs(60);
/// How many expired records a claim clears away in passing, so that the map keeps up with any flood.
const PURGED_PER_CLAIM: usize = 2;
/// How many deadlines an eviction looks at before it gives up and refuses.
const EVICTION_CANDIDATES: usize = 64;

/// Records in this process's memory.
///
/// For tests, for single processes whose effects do not outlive them, and as the specification in
/// action: it is a map around [`apply`](protocol::apply).
///
/// # What is promised
///
/// Everything that the protocol promises, within one process and for as long as it lives. Nothing
/// survives the process, and nothing is shared with another.
///
/// # Room
///
/// A record takes about 400 bytes beside its key, its result and its steps. There are at most
/// [`with_capacity`](Self::with_capacity) records (1,000,000 by default); what happens then is
/// [`OnFull`]'s to say. Expired records are cleared away in passing.
///
/// # Clone
///
/// Clones are handles to the same records.
///
/// # Examples
///
/// ```
/// use idempotent_core::MemoryStore;
///
/// let store = MemoryStore::new().with_capacity(10_000);
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
    clock: Clock,
    capacity: usize,
    on_full: OnFull,
}

/// What a [`MemoryStore`] does with a new key when it holds as many records as it may.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum OnFull {
    /// Drops a finished record before its time: a retry of that one would run again. Records in
    /// progress, released or in doubt are never dropped.
    EvictFinished,
    /// Refuses the new key with [`StoreError::Full`]. The default.
    #[default]
    Refuse,
}

/// Whether a new record has been counted before it is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    Reserved,
    Unreserved,
}

struct Shared {
    records: AtomicUsize,
    shards: Vec<Mutex<Shard>>,
    watchers: Watchers,
}

#[derive(Default)]
struct Shard {
    /// An empty slot exists only while its shard is locked.
    slots: HashMap<Key, Option<Record>, HashOfKey>,
    /// At least one entry for each record, at about its end: only when it goes depends on it, never
    /// when it counts as gone.
    deadlines: BinaryHeap<Reverse<(Timestamp, Key)>>,
}

impl MemoryStore {
    /// An empty store, whose clock follows `tokio::time::pause`.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                records: AtomicUsize::new(0),
                shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
                watchers: Watchers::new(),
            }),
            clock: Clock::monotonic(),
            capacity: DEFAULT_CAPACITY,
            on_full: OnFull::default(),
        }
    }

    /// Sets the number of records there may be.
    #[must_use]
    pub const fn with_capacity(mut self, records: usize) -> Self {
        self.capacity = records;
        self
    }

    /// Sets the clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Sets what happens when the store is full.
    #[must_use]
    pub const fn with_on_full(mut self, on_full: OnFull) -> Self {
        self.on_full = on_full;
        self
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        lock(&self.shared.shards[key::shard(key, SHARDS)])
    }

    /// Runs `change` on the slot of `key`, and wakes whoever waited for what it did.
    fn update<R>(&self, key: &Key, change: impl FnOnce(&mut Option<Record>, Timestamp) -> R) -> R {
        let shard = self.shard(key);
        self.update_in(shard, Place::Unreserved, key, self.clock.now(), change)
    }

    fn update_in<R>(
        &self,
        mut shard: MutexGuard<'_, Shard>,
        place: Place,
        key: &Key,
        now: Timestamp,
        change: impl FnOnce(&mut Option<Record>, Timestamp) -> R,
    ) -> R {
        let mut absent = None;
        let slot = shard.slots.get_mut(key);
        let existed = slot.is_some();
        let slot = slot.unwrap_or(&mut absent);

        let before = slot
            .as_ref()
            .map(|record| (record.waiter, record.expires_at));
        let reply = change(slot, now);
        let after = slot
            .as_ref()
            .map(|record| (record.waiter, record.expires_at));

        match (before, after) {
            (_, None) if existed => {
                shard.slots.remove(key);
                self.shared.records.fetch_sub(1, Ordering::Relaxed);
            }
            (_, Some((_, expires_at))) if !existed => {
                shard.slots.insert(key.clone(), absent);
                shard.remember(key, expires_at);
                if place == Place::Unreserved {
                    // A lost record that is written anew: what has begun may be kept and finished.
                    self.shared.records.fetch_add(1, Ordering::Relaxed);
                }
            }
            (Some((_, was)), Some((_, is))) if is.plus(DEADLINE_SLACK) < was => {
                shard.remember(key, is);
            }
            _ => {}
        }
        let waited = before.is_some_and(|(waiter, _)| waiter);
        let waiting = after.is_some_and(|(waiter, _)| waiter);
        drop(shard);
        if waited && !waiting {
            self.shared.watchers.notify(key);
        }
        reply
    }

    /// Takes a place for one more record, if there is one.
    fn reserve(&self) -> bool {
        let records = &self.shared.records;
        let more = |records| (records < self.capacity).then_some(records + 1);
        records
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    /// Makes room for one record, if there is any to be made.
    fn make_room(&self, key: &Key) -> Result<(), StoreError> {
        let now = self.clock.now();
        let shards = self.shared.shards.iter();
        let cleared: usize = shards
            .map(|shard| self.clear(&mut lock(shard), now, usize::MAX))
            .sum();
        if cleared > 0 {
            return Ok(());
        }
        let mut nearest = self
            .shared
            .shards
            .iter()
            .cycle()
            .skip(key::shard(key, SHARDS))
            .take(SHARDS);
        if self.on_full == OnFull::EvictFinished && nearest.any(|shard| lock(shard).evict()) {
            self.shared.records.fetch_sub(1, Ordering::Relaxed);
            return Ok(());
        }
        Err(StoreError::Full(
            format!("{} records are held already", self.capacity).into(),
        ))
    }

    fn clear(&self, shard: &mut Shard, now: Timestamp, at_most: usize) -> usize {
        let cleared = shard.clear(now, at_most);
        if cleared > 0 {
            self.shared.records.fetch_sub(cleared, Ordering::Relaxed);
        }
        cleared
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("records", &self.shared.records.load(Ordering::Relaxed))
            .field("capacity", &self.capacity)
            .field("on_full", &self.on_full)
            .finish_non_exhaustive()
    }
}

impl Shard {
    /// Notes that the record under `key` may expire at `deadline`.
    fn remember(&mut self, key: &Key, deadline: Timestamp) {
        if self.deadlines.len() > 2 * self.slots.len() + 64 {
            // Most of them are of records that were deleted, or moved their end.
            self.deadlines = self
                .slots
                .iter()
                .filter_map(|(key, slot)| Some(Reverse((slot.as_ref()?.expires_at, key.clone()))))
                .collect();
        }
        self.deadlines.push(Reverse((deadline, key.clone())));
    }

    /// Removes up to `at_most` expired records. Returns how many.
    fn clear(&mut self, now: Timestamp, at_most: usize) -> usize {
        let mut cleared = 0;
        while cleared < at_most
            && self
                .deadlines
                .peek()
                .is_some_and(|Reverse((deadline, _))| *deadline <= now)
            && let Some(Reverse((_, key))) = self.deadlines.pop()
        {
            match self.slots.get(&key) {
                Some(Some(record)) if !record.is_expired(now) => {
                    self.deadlines.push(Reverse((record.expires_at, key)));
                }
                Some(_) => {
                    self.slots.remove(&key);
                    cleared += 1;
                }
                None => {}
            }
        }
        cleared
    }

    /// Removes the finished record that would expire first. Returns whether there was one.
    fn evict(&mut self) -> bool {
        let mut passed = Vec::new();
        let mut evicted = false;
        while passed.len() < EVICTION_CANDIDATES
            && let Some(Reverse((deadline, key))) = self.deadlines.pop()
        {
            match self.slots.get(&key) {
                Some(Some(record)) if record.state.is_finished() => {
                    self.slots.remove(&key);
                    evicted = true;
                    break;
                }
                Some(_) => passed.push(Reverse((deadline, key))),
                None => {}
            }
        }
        self.deadlines.extend(passed);
        evicted
    }
}

impl Store for MemoryStore {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn claim(&self, key: &Key, request: &ClaimRequest) -> Result<Claim, StoreError> {
        loop {
            let mut shard = self.shard(key);
            let now = self.clock.now();
            self.clear(&mut shard, now, PURGED_PER_CLAIM);
            let place = if shard.slots.contains_key(key) {
                Place::Unreserved
            } else if self.reserve() {
                Place::Reserved
            } else {
                drop(shard);
                self.make_room(key)?;
                continue;
            };
            let claim = |slot: &mut _, now| protocol::claim(slot, request, now);
            return Ok(self.update_in(shard, place, key, now, claim));
        }
    }

    async fn complete(
        &self,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<Update, StoreError> {
        Ok(self.update(key, |slot, now| {
            protocol::complete(slot, grant, completion, now)
        }))
    }

    async fn record_step(
        &self,
        key: &Key,
        grant: &Grant,
        step: &Step,
        lease: Duration,
    ) -> Result<StepReply, StoreError> {
        Ok(self.update(key, |slot, now| {
            protocol::record_step(slot, grant, step, lease, now)
        }))
    }

    async fn release(
        &self,
        key: &Key,
        holder: &Holder,
        release: Release,
    ) -> Result<Update, StoreError> {
        Ok(self.update(key, |slot, now| {
            protocol::release(slot, holder, release, now)
        }))
    }

    async fn renew(&self, key: &Key, grant: &Grant, lease: Duration) -> Result<Update, StoreError> {
        Ok(self.update(key, |slot, now| protocol::renew(slot, grant, lease, now)))
    }

    async fn watch(&self, key: &Key) -> Result<Watch, StoreError> {
        Ok(self.shared.watchers.subscribe(key))
    }
}
