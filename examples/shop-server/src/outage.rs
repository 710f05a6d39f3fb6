//! A store that can be switched off, to see what the shop does without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use idempotency::protocol::{
    Claim, ClaimRequest, Completion, Grant, Holder, Release, StepReply, Update,
};
use idempotency::{Key, Step, Store, StoreError, Watch};

/// Whether the store is down.
#[derive(Clone, Debug, Default)]
pub(crate) struct Switch(Arc<AtomicBool>);

impl Switch {
    pub(crate) fn set_down(&self, is_down: bool) {
        self.0.store(is_down, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.0.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("it was switched off".into()));
        }
        Ok(())
    }
}

/// A store behind a switch.
#[derive(Clone, Debug)]
pub(crate) struct Switched<S> {
    store: S,
    switch: Switch,
}

impl<S> Switched<S> {
    pub(crate) const fn new(store: S, switch: Switch) -> Self {
        Self { store, switch }
    }
}

impl<S: Store> Store for Switched<S> {
    fn name(&self) -> &'static str {
        self.store.name()
    }

    async fn claim(&self, key: &Key, request: &ClaimRequest) -> Result<Claim, StoreError> {
        self.switch.check()?;
        self.store.claim(key, request).await
    }

    async fn complete(
        &self,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<Update, StoreError> {
        self.switch.check()?;
        self.store.complete(key, grant, completion).await
    }

    async fn record_step(
        &self,
        key: &Key,
        grant: &Grant,
        step: &Step,
        lease: Duration,
    ) -> Result<StepReply, StoreError> {
        self.switch.check()?;
        self.store.record_step(key, grant, step, lease).await
    }

    async fn release(
        &self,
        key: &Key,
        holder: &Holder,
        release: Release,
    ) -> Result<Update, StoreError> {
        self.switch.check()?;
        self.store.release(key, holder, release).await
    }

    async fn renew(&self, key: &Key, grant: &Grant, lease: Duration) -> Result<Update, StoreError> {
        self.switch.check()?;
        self.store.renew(key, grant, lease).await
    }

    async fn watch(&self, key: &Key) -> Result<Watch, StoreError> {
        self.switch.check()?;
        self.store.watch(key).await
    }
}
