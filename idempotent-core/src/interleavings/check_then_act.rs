//! A store that looks first and writes then, which the tests have to find out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::error::StoreError;
use crate::key::Key;
use crate::protocol::{
    self, Claim, ClaimRequest, Completion, Grant, Holder, Release, StepReply, Update,
};
use crate::record::{Record, Step};
use crate::store::{Store, Watch};
use crate::sync::{Mutex, lock};

#[derive(Clone, Debug)]
pub(super) struct CheckThenAct {
    records: Arc<Mutex<HashMap<Key, Record>>>,
    clock: Clock,
}

impl CheckThenAct {
    pub(super) fn new(clock: &Clock) -> Self {
        Self {
            records: Arc::default(),
            clock: clock.clone(),
        }
    }

    /// Judges by what was there a moment ago.
    #[expect(clippy::unnecessary_wraps, reason = "every caller would wrap it")]
    fn update<R>(
        &self,
        key: &Key,
        change: impl FnOnce(&mut Option<Record>, Timestamp) -> R,
    ) -> Result<R, StoreError> {
        let mut slot = lock(&self.records).get(key).cloned();
        let reply = change(&mut slot, self.clock.now());
        let mut records = lock(&self.records);
        match slot {
            Some(record) => records.insert(key.clone(), record),
            None => records.remove(key),
        };
        Ok(reply)
    }
}

impl Store for CheckThenAct {
    fn name(&self) -> &'static str {
        "check then act"
    }

    async fn claim(&self, key: &Key, request: &ClaimRequest) -> Result<Claim, StoreError> {
        self.update(key, |slot, now| protocol::claim(slot, request, now))
    }

    async fn complete(
        &self,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<Update, StoreError> {
        self.update(key, |slot, now| {
            protocol::complete(slot, grant, completion, now)
        })
    }

    async fn record_step(
        &self,
        key: &Key,
        grant: &Grant,
        step: &Step,
        lease: Duration,
    ) -> Result<StepReply, StoreError> {
        self.update(key, |slot, now| {
            protocol::record_step(slot, grant, step, lease, now)
        })
    }

    async fn release(
        &self,
        key: &Key,
        holder: &Holder,
        release: Release,
    ) -> Result<Update, StoreError> {
        self.update(key, |slot, now| {
            protocol::release(slot, holder, release, now)
        })
    }

    async fn renew(&self, key: &Key, grant: &Grant, lease: Duration) -> Result<Update, StoreError> {
        self.update(key, |slot, now| protocol::renew(slot, grant, lease, now))
    }

    async fn watch(&self, _: &Key) -> Result<Watch, StoreError> {
        Ok(Watch::never())
    }
}
