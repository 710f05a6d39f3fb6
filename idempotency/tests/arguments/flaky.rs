//! A store that can be taken down, for the policies about that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use idempotency::protocol::{
    Claim, ClaimRequest, Completion, Grant, Holder, Release, StepReply, Update,
};
use idempotency::{Key, MemoryStore, Step, Store, StoreError, Watch};

/// A [`MemoryStore`] behind a switch.
#[derive(Clone, Debug, Default)]
pub(crate) struct FlakyStore {
    inner: MemoryStore,
    is_down: Arc<AtomicBool>,
}

impl FlakyStore {
    pub(crate) fn take_down(&self) {
        self.is_down.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.is_down.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("the test took it down".into()));
        }
        Ok(())
    }
}

impl Store for FlakyStore {
    fn name(&self) -> &'static str {
        "flaky"
    }

    async fn claim(&self, key: &Key, request: &ClaimRequest) -> Result<Claim, StoreError> {
        self.check()?;
        self.inner.claim(key, request).await
    }

    async fn complete(
        &self,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<Update, StoreError> {
        self.check()?;
        self.inner.complete(key, grant, completion).await
    }

    async fn record_step(
        &self,
        key: &Key,
        grant: &Grant,
        step: &Step,
        lease: Duration,
    ) -> Result<StepReply, StoreError> {
        self.check()?;
        self.inner.record_step(key, grant, step, lease).await
    }

    async fn release(
        &self,
        key: &Key,
        holder: &Holder,
        release: Release,
    ) -> Result<Update, StoreError> {
        self.check()?;
        self.inner.release(key, holder, release).await
    }

    async fn renew(&self, key: &Key, grant: &Grant, lease: Duration) -> Result<Update, StoreError> {
        self.check()?;
        self.inner.renew(key, grant, lease).await
    }

    async fn watch(&self, key: &Key) -> Result<Watch, StoreError> {
        self.check()?;
        self.inner.watch(key).await
    }
}
