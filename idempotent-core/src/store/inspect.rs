use std::future::Future;
use std::time::Duration;

use super::Store;
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::key::Key;
use crate::protocol::{Completion, Doubt, Release, ReleaseMode, Update};
use crate::record::{Payload, Record, State};

/// Administration of a store: for operators and their tools, never for the engine.
pub trait Inspect: Send + Sync {
    /// The record under `key`, unless it has expired.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn get(&self, key: &Key) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send;

    /// The records that fit `query`, in the order of their keys, a page at a time.
    ///
    /// Records that come or go between two pages may be missed. A record that exists throughout is
    /// listed exactly once where the store can sort, and at least once where it cannot.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn list(&self, query: &Query) -> impl Future<Output = Result<Page, StoreError>> + Send;

    /// Forgets the record under `key`, unless an attempt holds it: its next call runs as the first.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn delete(&self, key: &Key) -> impl Future<Output = Result<Deletion, StoreError>> + Send;

    /// Removes up to `batch` expired records. Nothing depends on it but the room they take. Of 0 there is
    /// nothing to do, and never more.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn purge(&self, batch: usize) -> impl Future<Output = Result<Purged, StoreError>> + Send;

    /// Counts the records.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn statistics(&self) -> impl Future<Output = Result<Statistics, StoreError>> + Send;
}

/// Which records to list.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Query {
    /// Only those in this state.
    pub state: Option<State>,
    /// Only those of this scope.
    pub scope: Option<String>,
    /// Only those whose current attempt was granted this long ago, or longer.
    pub older_than: Option<Duration>,
    /// Only those of unfinished operations that have recorded a step, or their arguments.
    pub steps: bool,
    /// At most so many.
    pub limit: usize,
    /// Where the page before ended: its [`Page::next`].
    pub after: Option<String>,
}

impl Query {
    /// All records, 100 to a page.
    #[must_use]
    pub const fn all() -> Self {
        Self {
            state: None,
            scope: None,
            older_than: None,
            steps: false,
            limit: 100,
            after: None,
        }
    }

    /// Only those in `state`.
    #[must_use]
    pub const fn with_state(mut self, state: State) -> Self {
        self.state = Some(state);
        self
    }

    /// Only those of `scope`.
    #[must_use]
    pub fn with_scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Only those whose current attempt was granted `age` ago, or longer.
    #[must_use]
    pub const fn older_than(mut self, age: Duration) -> Self {
        self.older_than = Some(age);
        self
    }

    /// Only those of unfinished operations that have recorded a step, or their arguments.
    #[must_use]
    pub const fn with_steps(mut self) -> Self {
        self.steps = true;
        self
    }

    /// At most `limit` to a page.
    #[must_use]
    pub const fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Whether the record under `key` is on the list, and after the last page.
    #[must_use]
    pub fn matches(&self, key: &Key, record: &Record, now: Timestamp) -> bool {
        !record.is_expired(now)
            && (!self.steps || !record.steps.is_empty())
            && self.state.is_none_or(|state| record.state == state)
            && self
                .scope
                .as_ref()
                .is_none_or(|scope| key.scope() == scope.as_str())
            && self
                .older_than
                .is_none_or(|age| now.since(record.fence.granted_at()) >= age)
            && self
                .after
                .as_ref()
                .is_none_or(|after| key.as_str() > after.as_str())
    }

    /// Between which two texts, both excluded, the keys on the list lie: for stores that keep keys in
    /// order. Without a second one, only the first counts; `None` if no key can be on the list.
    #[must_use]
    pub fn keys(&self) -> Option<(String, Option<String>)> {
        let after = self.after.clone().unwrap_or_default();
        let Some(scope) = &self.scope else {
            return Some((after, None));
        };
        let key = Key::new(scope, "-").ok()?;
        let scope = key.as_str().strip_suffix("/-")?;
        // No value is empty, so no key is equal to the first; and `0` comes after `/`.
        Some((after.max(format!("{scope}/")), Some(format!("{scope}0"))))
    }

    /// The page after `page`, if there is one.
    #[must_use]
    pub fn next(mut self, page: &Page) -> Option<Self> {
        self.after = Some(page.next.clone()?);
        Some(self)
    }
}

/// One record and its key.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The record.
    pub record: Record,
}

impl Entry {
    /// The record under `key`.
    #[must_use]
    pub const fn new(key: Key, record: Record) -> Self {
        Self { key, record }
    }
}

/// Part of a list.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Page {
    /// The records.
    pub entries: Vec<Entry>,
    /// Where to go on; `None` on the last page. Opaque.
    pub next: Option<String>,
    /// When the store read them, by its clock.
    pub now: Timestamp,
}

impl Page {
    /// A page that was read `now`, and ends at `next`.
    #[must_use]
    pub const fn new(entries: Vec<Entry>, next: Option<String>, now: Timestamp) -> Self {
        Self { entries, next, now }
    }

    /// The first `limit` of `entries`, which are sorted by key and were read `now`. The page ends at its
    /// last key.
    #[must_use]
    pub fn of(mut entries: Vec<Entry>, limit: usize, now: Timestamp) -> Self {
        let more = entries.len() > limit;
        entries.truncate(limit);
        let last = entries.last().filter(|_| more);
        let next = last.map(|entry| entry.key.as_str().to_owned());
        Self { entries, next, now }
    }
}

/// What became of a deletion.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Deletion {
    /// There was nothing.
    Absent,
    /// The record is gone.
    Deleted,
    /// An attempt holds the key; nothing was changed.
    InProgress,
}

/// What a purge did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Purged {
    /// How many records are gone.
    pub records: usize,
    /// Whether there are, or may be, more to purge.
    pub more: bool,
}

impl Purged {
    /// `records` are gone.
    #[must_use]
    pub const fn new(records: usize, more: bool) -> Self {
        Self { records, more }
    }
}

/// How many records there are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Statistics {
    /// Finished with a value.
    pub completed: u64,
    /// Expired, and not yet purged.
    pub expired: u64,
    /// Finished with a recorded error.
    pub failed: u64,
    /// In doubt.
    pub in_doubt: u64,
    /// In progress.
    pub in_progress: u64,
    /// Of those in progress, the ones whose lease is over.
    pub lapsed: u64,
    /// Released.
    pub released: u64,
}

impl Statistics {
    /// Counts `record`.
    pub fn count(&mut self, record: &Record, now: Timestamp) {
        let lapsed = record.lease_until() <= now;
        self.add(record.state, record.is_expired(now), lapsed, 1);
    }

    /// Counts so many `records` in the same state, all of which are `expired`, or not, and have leases
    /// that have `lapsed`, or not.
    pub const fn add(&mut self, state: State, expired: bool, lapsed: bool, records: u64) {
        if expired {
            self.expired += records;
            return;
        }
        let counter = match state {
            State::Completed => &mut self.completed,
            State::Failed => &mut self.failed,
            State::InDoubt => &mut self.in_doubt,
            State::InProgress => {
                if lapsed {
                    self.lapsed += records;
                }
                &mut self.in_progress
            }
            State::Released => &mut self.released,
        };
        *counter += records;
    }
}

/// What a person, or the outside world, says about a doubt.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Resolution {
    /// The effect happened, and this is its result. Kept for so long.
    Completed(Payload, Duration),
    /// The effect did not happen: the next caller runs.
    NotExecuted,
}

/// Why a doubt was not resolved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// There is no doubt to resolve.
    #[error("the record is not in doubt")]
    NotInDoubt,
    /// The store failed. The doubt may have been resolved.
    #[error("the store failed; look whether the doubt was resolved")]
    Store(#[from] StoreError),
}

/// What can be done with any store that can be inspected.
pub trait InspectExt: Inspect + Store {
    /// Resolves the doubt under `key`. Of two people who resolve it at once, one succeeds.
    ///
    /// # Errors
    ///
    /// [`ResolveError::NotInDoubt`] if there is no doubt, or somebody was quicker.
    fn resolve(
        &self,
        key: &Key,
        resolution: Resolution,
    ) -> impl Future<Output = Result<(), ResolveError>> + Send {
        async move {
            let record = self
                .get(key)
                .await?
                .filter(|record| record.state == State::InDoubt);
            let doubt = Doubt::of(&record.ok_or(ResolveError::NotInDoubt)?);
            let update = match resolution {
                Resolution::Completed(payload, ttl) => {
                    self.complete(key, &doubt.grant, &Completion::value(payload, ttl))
                        .await?
                }
                Resolution::NotExecuted => {
                    let release = Release::new(doubt.ending, ReleaseMode::Free);
                    self.release(key, &doubt.grant.holder(), release).await?
                }
            };
            match update {
                Update::Applied | Update::Healed => Ok(()),
                Update::Lost(_) | Update::Repeated => Err(ResolveError::NotInDoubt),
            }
        }
    }
}

impl<S: Inspect + Store> InspectExt for S {}
