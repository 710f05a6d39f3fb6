//! What is broken on purpose: a run on it has to report violations.

use std::time::Duration;

use clap::ValueEnum;
use idempotency::protocol::{
    Claim, ClaimRequest, Completion, Grant, Holder, Release, ReleaseMode, StepReply, Update,
};
use idempotency::{Clock, Inspect, Key, State, Step, Store, StoreError, Watch};

use crate::setup::StoreKind;

/// In which way.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[non_exhaustive]
pub enum Control {
    /// A release forgets the record, and so that an attempt has run.
    DeleteOnRelease,
    /// The record is gone at the end of its lease.
    LeaseAsExpiry,
    /// The record is not in the transaction of the effect, but under a lease, on another connection.
    RecordApart,
    /// A completion asks neither for the owner nor for the fence.
    UnconditionalComplete,
}

impl Control {
    /// Its name on the command line.
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether it breaks a store, rather than the way in which an application uses one.
    #[must_use]
    pub const fn breaks_store(self) -> bool {
        match self {
            Self::DeleteOnRelease | Self::LeaseAsExpiry | Self::UnconditionalComplete => true,
            Self::RecordApart => false,
        }
    }

    /// Whether it says anything about `store`.
    #[must_use]
    pub const fn concerns(self, store: StoreKind) -> bool {
        self.breaks_store() || store.has_transactions()
    }
}

/// A good store, made bad.
#[derive(Clone, Debug)]
pub(crate) struct Broken<S> {
    store: S,
    control: Control,
}

impl<S: Store + Inspect> Broken<S> {
    pub(crate) const fn new(store: S, control: Control) -> Self {
        Self { store, control }
    }

    /// Completes under whatever grant is in force, over a result if need be.
    async fn overwrite(
        &self,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<Update, StoreError> {
        let mut grant = grant.clone();
        match self.store.get(key).await? {
            Some(record) if matches!(record.state, State::InDoubt | State::InProgress) => {
                grant.owner = record.owner;
                grant.fence = record.fence;
            }
            _ => {
                self.store.delete(key).await?;
                let lease = Duration::from_secs(10);
                let request =
                    ClaimRequest::new(grant.owner, grant.fingerprint, lease, completion.ttl);
                if let Claim::Granted(granted) = self.store.claim(key, &request).await? {
                    grant = granted;
                }
            }
        }
        self.store.complete(key, &grant, completion).await?;
        Ok(Update::Applied)
    }
}

impl<S: Store + Inspect> Store for Broken<S> {
    fn name(&self) -> &'static str {
        self.store.name()
    }

    async fn claim(&self, key: &Key, request: &ClaimRequest) -> Result<Claim, StoreError> {
        if self.control == Control::LeaseAsExpiry
            && let Some(record) = self.store.get(key).await?
            && record.state == State::InProgress
            && !record.is_held(Clock::system().now())
        {
            self.store.delete(key).await?;
        }
        self.store.claim(key, request).await
    }

    async fn complete(
        &self,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<Update, StoreError> {
        let update = self.store.complete(key, grant, completion).await?;
        match update {
            Update::Lost(_) if self.control == Control::UnconditionalComplete => {
                self.overwrite(key, grant, completion).await
            }
            update => Ok(update),
        }
    }

    async fn record_step(
        &self,
        key: &Key,
        grant: &Grant,
        step: &Step,
        lease: Duration,
    ) -> Result<StepReply, StoreError> {
        self.store.record_step(key, grant, step, lease).await
    }

    async fn release(
        &self,
        key: &Key,
        holder: &Holder,
        release: Release,
    ) -> Result<Update, StoreError> {
        let update = self.store.release(key, holder, release).await?;
        if self.control == Control::DeleteOnRelease && release.mode == ReleaseMode::Free {
            self.store.delete(key).await?;
        }
        Ok(update)
    }

    async fn renew(&self, key: &Key, grant: &Grant, lease: Duration) -> Result<Update, StoreError> {
        self.store.renew(key, grant, lease).await
    }

    async fn watch(&self, key: &Key) -> Result<Watch, StoreError> {
        self.store.watch(key).await
    }
}
