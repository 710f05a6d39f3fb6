use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use idempotent_core::protocol::{
    Claim, ClaimRequest, Completion, Grant, Holder, Operation, Release, Reply, StepReply, Update,
    apply,
};
use idempotent_core::{
    Clock, Deletion, Entry, Inspect, Key, Page, Purged, Query, Record, State, Statistics, Step,
    Store, StoreError, Timestamp, Watch, Watchers,
};
use tokio::task::yield_now;

use super::Defect;
use super::hook::{After, Before, Hook};

/// A memory store with one [`Defect`].
///
/// # Clone
///
/// Clones are handles to the same records.
#[derive(Clone)]
pub struct BrokenStore {
    defect: &'static Defect,
    clock: Clock,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    records: Mutex<HashMap<Key, Record>>,
    locked: Mutex<Vec<Key>>,
    watchers: Watchers,
}

impl BrokenStore {
    /// An empty store with this defect.
    #[must_use]
    pub fn new(defect: &'static Defect, clock: Clock) -> Self {
        Self {
            defect,
            clock,
            shared: Arc::default(),
        }
    }

    /// Another client of the same store.
    #[must_use]
    pub fn client(&self) -> Self {
        match self.defect.hook {
            Hook::PerClient => Self {
                shared: Arc::default(),
                ..self.clone()
            },
            _ => self.clone(),
        }
    }

    async fn operate(&self, key: &Key, operation: Operation) -> Result<Reply, StoreError> {
        let key = &self.key(key);
        match self.defect.hook {
            Hook::CheckThenAct => {
                let mut slot = self.records().get(key).cloned();
                yield_now().await;
                let (reply, told) = self.apply(&mut slot, operation);
                self.write(key, slot, told);
                Ok(reply)
            }
            Hook::LeaveLocked => {
                if self.locked().contains(key) {
                    return Err(StoreError::Unavailable("locked by another call".into()));
                }
                self.locked().push(key.clone());
                yield_now().await;
                let reply = self.operate_at_once(key, operation);
                self.locked().retain(|locked| locked != key);
                Ok(reply)
            }
            _ => Ok(self.operate_at_once(key, operation)),
        }
    }

    fn operate_at_once(&self, key: &Key, operation: Operation) -> Reply {
        let mut records = self.records();
        let mut slot = records.remove(key);
        let (reply, told) = self.apply(&mut slot, operation);
        records.extend(slot.map(|record| (key.clone(), record)));
        drop(records);
        if told {
            self.shared.watchers.notify(key);
        }
        reply
    }

    fn write(&self, key: &Key, slot: Option<Record>, told: bool) {
        let mut records = self.records();
        match slot {
            Some(record) => _ = records.insert(key.clone(), record),
            None => _ = records.remove(key),
        }
        drop(records);
        if told {
            self.shared.watchers.notify(key);
        }
    }

    /// Applies the operation with the defect. Says whether those who wait are to be told.
    fn apply(&self, slot: &mut Option<Record>, mut operation: Operation) -> (Reply, bool) {
        let now = self.clock.now();
        let before = slot.clone();
        if let Hook::Before(change) = self.defect.hook {
            change(&mut Before {
                slot,
                operation: &mut operation,
                now,
            });
        }
        let mut reply = apply(slot, &operation, now);
        if let Hook::After(change) = self.defect.hook {
            change(&mut After {
                before: before.as_ref().filter(|record| !record.is_expired(now)),
                slot,
                operation: &operation,
                reply: &mut reply,
                now,
            });
        }
        let waited = before.is_some_and(|record| record.waiter);
        let told = match slot {
            Some(record) => waited && has_ended(record) && !self.is_silent(record.state),
            None => waited,
        };
        (reply, told)
    }

    fn is_silent(&self, state: State) -> bool {
        matches!(self.defect.hook, Hook::Silent(silent) if silent(state))
    }

    /// What an operator sees of a record, if anything.
    fn shown(&self, record: &Record, now: Timestamp) -> Option<Record> {
        let mut record = record.clone();
        match self.defect.hook {
            Hook::Get(change) => change(&mut record),
            Hook::ShowExpired if record.is_expired(now) => {
                record.expires_at = now.plus(record.keep);
            }
            _ => {}
        }
        (!record.is_expired(now)).then_some(record)
    }

    fn key(&self, key: &Key) -> Key {
        match self.defect.hook {
            Hook::Key(change) => change(key),
            _ => key.clone(),
        }
    }

    fn records(&self) -> MutexGuard<'_, HashMap<Key, Record>> {
        self.shared
            .records
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Key>> {
        self.shared
            .locked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for BrokenStore {
    fn name(&self) -> &'static str {
        "broken"
    }

    async fn claim(&self, key: &Key, request: &ClaimRequest) -> Result<Claim, StoreError> {
        match self.operate(key, Operation::Claim(request.clone())).await? {
            Reply::Claim(claim) => Ok(claim),
            reply => unreachable!("{reply:?} is no answer to a claim"),
        }
    }

    async fn complete(
        &self,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<Update, StoreError> {
        let (grant, completion) = (grant.clone(), completion.clone());
        self.operate(key, Operation::Complete { grant, completion })
            .await
            .map(update)
    }

    async fn record_step(
        &self,
        key: &Key,
        grant: &Grant,
        step: &Step,
        lease: Duration,
    ) -> Result<StepReply, StoreError> {
        let (grant, step) = (grant.clone(), step.clone());
        match self
            .operate(key, Operation::RecordStep { grant, step, lease })
            .await?
        {
            Reply::Step(reply) => Ok(reply),
            reply => unreachable!("{reply:?} is no answer to a step"),
        }
    }

    async fn release(
        &self,
        key: &Key,
        holder: &Holder,
        release: Release,
    ) -> Result<Update, StoreError> {
        self.operate(
            key,
            Operation::Release {
                holder: *holder,
                release,
            },
        )
        .await
        .map(update)
    }

    async fn renew(&self, key: &Key, grant: &Grant, lease: Duration) -> Result<Update, StoreError> {
        let grant = grant.clone();
        self.operate(key, Operation::Renew { grant, lease })
            .await
            .map(update)
    }

    async fn watch(&self, key: &Key) -> Result<Watch, StoreError> {
        Ok(self.shared.watchers.subscribe(&self.key(key)))
    }
}

fn has_ended(record: &Record) -> bool {
    record.state != State::InProgress
}

fn update(reply: Reply) -> Update {
    match reply {
        Reply::Update(update) => update,
        reply => unreachable!("{reply:?} is no answer to an update"),
    }
}

impl Inspect for BrokenStore {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        let now = self.clock.now();
        let records = self.records();
        Ok(records
            .get(&self.key(key))
            .and_then(|record| self.shown(record, now)))
    }

    async fn list(&self, query: &Query) -> Result<Page, StoreError> {
        let now = self.clock.now();
        let mut query = query.clone();
        if let Hook::Query(change) = self.defect.hook {
            change(&mut query);
        }
        let mut entries = Vec::new();
        for (key, record) in &*self.records() {
            let shown = self.shown(record, now);
            if let Some(record) = shown.filter(|record| query.matches(key, record, now)) {
                entries.push(Entry::new(key.clone(), record));
            }
        }
        entries.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        let mut page = Page::of(entries, query.limit, now);
        if let Hook::Page(change) = self.defect.hook {
            change(&mut page);
        }
        Ok(page)
    }

    async fn delete(&self, key: &Key) -> Result<Deletion, StoreError> {
        let now = self.clock.now();
        let mut records = self.records();
        let Some(record) = records.get(key).filter(|record| !record.is_expired(now)) else {
            return Ok(Deletion::Absent);
        };
        if record.is_held(now) && !matches!(self.defect.hook, Hook::DeleteAnything) {
            return Ok(Deletion::InProgress);
        }
        if !matches!(self.defect.hook, Hook::DeleteNothing) {
            records.remove(key);
        }
        Ok(Deletion::Deleted)
    }

    async fn purge(&self, batch: usize) -> Result<Purged, StoreError> {
        let now = self.clock.now();
        let is_purged = |record: &Record| match self.defect.hook {
            Hook::PurgeLive(also) => record.is_expired(now) || also(record, now),
            _ => record.is_expired(now),
        };
        let batch = match self.defect.hook {
            Hook::PurgeAtOnce => usize::MAX,
            _ => batch,
        };
        let mut records = self.records();
        let expired = records.iter().filter(|(_, record)| is_purged(record));
        let keys: Vec<_> = expired.map(|(key, _)| key.clone()).take(batch).collect();
        for key in &keys {
            records.remove(key);
        }
        let more = match self.defect.hook {
            Hook::PurgeForEver => keys.len() == batch,
            _ => keys.len() == batch && batch > 0,
        };
        Ok(Purged::new(keys.len(), more))
    }

    async fn statistics(&self) -> Result<Statistics, StoreError> {
        let now = self.clock.now();
        let mut statistics = Statistics::default();
        for record in self.records().values() {
            statistics.count(record, now);
        }
        if let Hook::Count(change) = self.defect.hook {
            change(&mut statistics);
        }
        Ok(statistics)
    }
}

impl fmt::Debug for BrokenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokenStore")
            .field("defect", self.defect)
            .finish_non_exhaustive()
    }
}
