//! Commits, and what became of those whose answer was lost.

use std::sync::Arc;
use std::time::Duration;

use super::claim::Asked;
use crate::engine::EventKind;
use crate::engine::claim::Call;
use crate::engine::flight::{AtStore, Find};
use crate::error::{Error, StoreError};
use crate::protocol::{Claim, Completion, Grant, Recorded};
use crate::record::Payload;
use crate::store::{CommitError, TransactionalStore};
use crate::sync::time::{Instant, sleep};

/// How long the pause is between two looks for what became of a commit.
const PAUSE: Duration = Duration::from_millis(100);

/// A claim that was granted in a transaction, and the turn that keeps others of this process away.
#[derive(Debug)]
pub(super) struct Claimed<'a> {
    pub(super) call: &'a Arc<Call>,
    pub(super) grant: Arc<Grant>,
    pub(super) turn: AtStore<'a>,
}

/// What a commit has come to.
#[derive(Debug)]
pub(super) enum Committed {
    /// What this transaction has recorded is what counts.
    Own,
    /// What another has recorded counts, and nothing of this one.
    Another(Recorded),
}

impl Claimed<'_> {
    /// Records how the operation ended, and commits.
    pub(super) async fn complete<S: TransactionalStore>(
        &self,
        store: &S,
        transaction: S::Transaction,
        completion: &Completion,
    ) -> Result<Committed, Error> {
        self.commit(store, transaction, &self.grant, completion)
            .await
    }

    /// Records an error in a transaction of its own, after that of the operation was rolled back.
    /// Returns what counts in its place, if something else does.
    pub(super) async fn record_error<S: TransactionalStore>(
        &self,
        store: &S,
        payload: Payload,
    ) -> Option<Recorded> {
        match self.try_record_error(store, payload).await {
            Ok(Committed::Own) => None,
            Ok(Committed::Another(recorded)) => Some(recorded),
            Err(error) => {
                // The caller gets the operation's error all the same, and a retry runs.
                self.call.emit(EventKind::Unrecorded, &error);
                None
            }
        }
    }

    async fn try_record_error<S: TransactionalStore>(
        &self,
        store: &S,
        payload: Payload,
    ) -> Result<Committed, Error> {
        let call = self.call;
        let deadline = Instant::now() + call.shared().record_patience;
        let (transaction, asked) = call.open(store, deadline).await?;
        match asked {
            Asked::Granted(grant) => {
                let completion = Completion::error(payload, call.policy.ttl);
                self.commit(store, transaction, &grant, &completion).await
            }
            Asked::Done(recorded) => {
                store.rollback(transaction).await;
                Ok(Committed::Another(recorded))
            }
            Asked::Busy(remaining) => {
                store.rollback(transaction).await;
                Err(call.conflict(remaining))
            }
        }
    }

    async fn commit<S: TransactionalStore>(
        &self,
        store: &S,
        transaction: S::Transaction,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<Committed, Error> {
        let call = self.call;
        let sent = Instant::now();
        let told = store.complete(transaction, &call.key, grant, completion);
        let committed = match told.await {
            Ok(()) => Committed::Own,
            Err(CommitError::RolledBack(source)) => {
                return Err(call.rolled_back(store.name(), source));
            }
            Err(CommitError::Unknown(source)) => self.find_out(store, grant, source).await?,
        };
        let recorded = match &committed {
            Committed::Own => {
                let attempt = format_args!("attempt {}", grant.attempt);
                call.emit(EventKind::Executed, &attempt);
                Recorded::by(grant, completion)
            }
            Committed::Another(recorded) => recorded.clone(),
        };
        self.share(recorded, sent);
        Ok(committed)
    }

    /// Looks for what became of a commit whose answer was lost. A claim waits for one that is still
    /// going on, and then finds its record, or that there is none.
    async fn find_out<S: TransactionalStore>(
        &self,
        store: &S,
        grant: &Grant,
        mut source: StoreError,
    ) -> Result<Committed, Error> {
        let call = self.call;
        let until = Instant::now() + call.shared().record_patience;
        while Instant::now() < until {
            call.emit(EventKind::StoreError, &source);
            let request = call.fresh_request()?;
            let patience = until.saturating_duration_since(Instant::now());
            match store.claim(&call.key, &request, patience).await {
                Ok((transaction, claim)) => {
                    store.rollback(transaction).await;
                    match claim {
                        Claim::Done(recorded) if recorded.fence == grant.fence => {
                            return Ok(Committed::Own);
                        }
                        Claim::Done(recorded) => return Ok(Committed::Another(recorded)),
                        Claim::Busy { .. } => {}
                        // Whatever it is, it is not this call's result.
                        _ => return Err(call.rolled_back(store.name(), source)),
                    }
                }
                Err(error) => source = error,
            }
            sleep(call.shared().jitter.apply(PAUSE)).await;
        }
        Err(Error::CommitUnknown {
            store: store.name(),
            source,
        })
    }

    /// Tells the callers who wait for the turn what there is, and remembers it.
    fn share(&self, recorded: Recorded, sent: Instant) {
        self.call.remember(&recorded, sent);
        self.turn.share(Find::Recorded(recorded));
    }
}
