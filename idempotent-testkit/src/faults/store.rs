use std::collections::HashMap;
use std::future::{Future, pending};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use idempotent_core::protocol::{
    Claim, ClaimRequest, Completion, Grant, Holder, Release, ReleaseMode, StepReply, Update,
};
use idempotent_core::{
    Deletion, Ending, Inspect, Key, Owner, Page, Purged, Query, Record, Statistics, Step, Store,
    StoreError, Watch,
};

use super::rule::{Fault, unavailable};
use super::{Faults, Op};

/// For how long whoever took over holds the key.
const THIEFS_LEASE: Duration = Duration::from_secs(60 * 60);

/// A store behind a script of [`Faults`]. [`Faults::wrap`] makes one.
///
/// Faults befall the calls of [`Store`]; those of [`Inspect`] always go through, so that a test
/// can look.
///
/// # Clone
///
/// Clones share the script, and are handles to the same records.
#[derive(Clone, Debug)]
pub struct Faulty<S> {
    store: S,
    faults: Faults,
    /// The last grant of each key, for whoever has to take over.
    grants: Arc<Mutex<HashMap<Key, Grant>>>,
}

impl<S> Faulty<S> {
    pub(super) fn new(store: S, faults: Faults) -> Self {
        Self {
            store,
            faults,
            grants: Arc::default(),
        }
    }

    /// The store itself, which does not fail.
    #[must_use]
    pub const fn inner(&self) -> &S {
        &self.store
    }
}

impl<S: Store> Faulty<S> {
    async fn call<T: Send>(
        &self,
        op: Op,
        key: &Key,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let faults = self.faults.strike(op);
        for fault in &faults {
            match fault {
                Fault::Delay(delay) => tokio::time::sleep(*delay).await,
                Fault::Fail(error) => return Err(error()),
                Fault::Hang => pending().await,
                Fault::LoseLease(completion) if op != Op::Claim => {
                    self.take_over(key, completion.as_ref()).await?;
                }
                Fault::Run(happening) => happening(),
                Fault::Stop(gate) => gate.pass().await,
                Fault::DelayReply(_)
                | Fault::DropReply
                | Fault::HangReply
                | Fault::LoseLease(_)
                | Fault::StopReply(_) => {}
            }
        }
        let mut reply = call.await;
        for fault in &faults {
            match fault {
                Fault::DelayReply(delay) => tokio::time::sleep(*delay).await,
                Fault::DropReply => reply = Err(unavailable()),
                Fault::HangReply => pending().await,
                Fault::LoseLease(completion) if op == Op::Claim => {
                    self.take_over(key, completion.as_ref()).await?;
                }
                Fault::StopReply(gate) => gate.pass().await,
                Fault::Delay(_)
                | Fault::Fail(_)
                | Fault::Hang
                | Fault::LoseLease(_)
                | Fault::Run(_)
                | Fault::Stop(_) => {}
            }
        }
        reply
    }

    /// Ends the grant in force as if its lease had run out, and claims the key for a stranger.
    async fn take_over(
        &self,
        key: &Key,
        completion: Option<&Completion>,
    ) -> Result<(), StoreError> {
        let Some(grant) = self.grants().get(key).cloned() else {
            return Ok(());
        };
        let expired = Release::new(Ending::Expired, ReleaseMode::Free);
        self.store.release(key, &grant.holder(), expired).await?;

        let owner = Owner::random().map_err(StoreError::Unavailable)?;
        let request = ClaimRequest::new(owner, grant.fingerprint, THIEFS_LEASE, grant.ttl);
        let claim = self.store.claim(key, &request).await?;
        if let (Claim::Granted(thief), Some(completion)) = (claim, completion) {
            self.store.complete(key, &thief, completion).await?;
        }
        Ok(())
    }

    fn grants(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Grant>> {
        // Nothing panics while the lock is held half-way through a change.
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Store> Store for Faulty<S> {
    fn name(&self) -> &'static str {
        self.store.name()
    }

    async fn claim(&self, key: &Key, request: &ClaimRequest) -> Result<Claim, StoreError> {
        let claim = async {
            let claim = self.store.claim(key, request).await?;
            if let Claim::Granted(grant) = &claim {
                self.grants().insert(key.clone(), grant.clone());
            }
            Ok(claim)
        };
        self.call(Op::Claim, key, claim).await
    }

    async fn complete(
        &self,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<Update, StoreError> {
        self.call(
            Op::Complete,
            key,
            self.store.complete(key, grant, completion),
        )
        .await
    }

    async fn record_step(
        &self,
        key: &Key,
        grant: &Grant,
        step: &Step,
        lease: Duration,
    ) -> Result<StepReply, StoreError> {
        self.faults.note_step(key, grant.fingerprint, step);
        self.call(
            Op::RecordStep,
            key,
            self.store.record_step(key, grant, step, lease),
        )
        .await
    }

    async fn release(
        &self,
        key: &Key,
        holder: &Holder,
        release: Release,
    ) -> Result<Update, StoreError> {
        self.call(Op::Release, key, self.store.release(key, holder, release))
            .await
    }

    async fn renew(&self, key: &Key, grant: &Grant, lease: Duration) -> Result<Update, StoreError> {
        self.call(Op::Renew, key, self.store.renew(key, grant, lease))
            .await
    }

    async fn watch(&self, key: &Key) -> Result<Watch, StoreError> {
        self.call(Op::Watch, key, self.store.watch(key)).await
    }
}

impl<S: Inspect> Inspect for Faulty<S> {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.store.get(key).await
    }

    async fn list(&self, query: &Query) -> Result<Page, StoreError> {
        self.store.list(query).await
    }

    async fn delete(&self, key: &Key) -> Result<Deletion, StoreError> {
        self.store.delete(key).await
    }

    async fn purge(&self, batch: usize) -> Result<Purged, StoreError> {
        self.store.purge(batch).await
    }

    async fn statistics(&self) -> Result<Statistics, StoreError> {
        self.store.statistics().await
    }
}
