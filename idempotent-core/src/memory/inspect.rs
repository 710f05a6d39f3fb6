use super::{MemoryStore, lock};
use crate::error::StoreError;
use crate::key::Key;
use crate::record::Record;
use crate::store::{Deletion, Entry, Inspect, Page, Purged, Query, Statistics};

impl Inspect for MemoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        let shard = self.shard(key);
        let now = self.clock.now();
        let live = shard
            .slots
            .get(key)
            .into_iter()
            .flatten()
            .find(|record| !record.is_expired(now));
        Ok(live.cloned())
    }

    async fn list(&self, query: &Query) -> Result<Page, StoreError> {
        let now = self.clock.now();
        let mut entries = Vec::new();
        for shard in &self.shared.shards {
            for (key, slot) in &lock(shard).slots {
                if let Some(record) = slot
                    && query.matches(key, record, now)
                {
                    entries.push(Entry::new(key.clone(), record.clone()));
                }
            }
        }
        entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(Page::of(entries, query.limit, now))
    }

    async fn delete(&self, key: &Key) -> Result<Deletion, StoreError> {
        Ok(self.update(key, |slot, now| match slot {
            None => Deletion::Absent,
            Some(record) if record.is_expired(now) => {
                *slot = None;
                Deletion::Absent
            }
            Some(record) if record.is_held(now) => Deletion::InProgress,
            Some(_) => {
                *slot = None;
                Deletion::Deleted
            }
        }))
    }

    async fn purge(&self, batch: usize) -> Result<Purged, StoreError> {
        if batch == 0 {
            return Ok(Purged::default());
        }
        let now = self.clock.now();
        let mut purged = 0;
        for shard in &self.shared.shards {
            purged += self.clear(&mut lock(shard), now, batch - purged);
            if purged == batch {
                return Ok(Purged::new(purged, true));
            }
        }
        Ok(Purged::new(purged, false))
    }

    async fn statistics(&self) -> Result<Statistics, StoreError> {
        let now = self.clock.now();
        let mut statistics = Statistics::default();
        for shard in &self.shared.shards {
            for record in lock(shard).slots.values().flatten() {
                statistics.count(record, now);
            }
        }
        Ok(statistics)
    }
}
