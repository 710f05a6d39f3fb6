//! Claims in transactions that the store opens.

use std::time::Duration;

use crate::engine::claim::{Call, PAUSES, doubt_of};
use crate::engine::{EventKind, OnConflict};
use crate::error::{Error, StoreError};
use crate::lease::Owner;
use crate::protocol::{Claim, ClaimRequest, Grant, Recorded};
use crate::store::TransactionalStore;
use crate::sync::time::{Instant, sleep};

/// What a claim has come to, where it was not refused for good.
#[derive(Debug)]
pub(super) enum Asked {
    Busy(Duration),
    Done(Recorded),
    Granted(Grant),
}

impl Call {
    /// Opens a transaction and claims in it; again, if the store fails for a moment.
    pub(super) async fn open<S: TransactionalStore>(
        &self,
        store: &S,
        deadline: Instant,
    ) -> Result<(S::Transaction, Asked), Error> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let request = self.fresh_request()?;
            let patience = deadline.saturating_duration_since(Instant::now());
            let error = match store.claim(&self.key, &request, patience).await {
                Ok((transaction, claim)) => match self.asked(claim) {
                    Ok(asked) => return Ok((transaction, asked)),
                    Err(error) => {
                        store.rollback(transaction).await;
                        return Err(error);
                    }
                },
                Err(error) => error,
            };
            self.emit(EventKind::StoreError, &error);
            match pauses.next() {
                Some(pause) if matches!(error, StoreError::Unavailable(_)) => sleep(pause).await,
                _ => return Err(self.failed(store.name(), error)),
            }
        }
    }

    /// A claim under an owner that nobody has had.
    pub(super) fn fresh_request(&self) -> Result<ClaimRequest, Error> {
        let owner = Owner::random().map_err(Error::Randomness)?;
        Ok(self.request(owner, false))
    }

    pub(super) fn asked(&self, claim: Claim) -> Result<Asked, Error> {
        match claim {
            Claim::Busy { remaining, .. } => Ok(Asked::Busy(remaining)),
            Claim::Done(recorded) => Ok(Asked::Done(recorded)),
            Claim::Granted(grant) => Ok(Asked::Granted(grant)),
            Claim::InDoubt(doubt) => {
                let kind = doubt_of(&doubt);
                self.emit(kind, &"");
                Err(match kind {
                    EventKind::Parked => Error::Parked,
                    _ => Error::InDoubt,
                })
            }
            Claim::Mismatch => Err(self.mismatch()),
            // No call has had this owner before.
            Claim::Stale => Ok(Asked::Busy(Duration::ZERO)),
        }
    }

    /// What `error` of a store that is not the engine's means to the caller.
    pub(super) fn failed(&self, store: &'static str, error: StoreError) -> Error {
        match self.store_error(error) {
            Error::Store { source, .. } => Error::Store { store, source },
            error => error,
        }
    }

    /// How long the call waits for another attempt.
    pub(super) const fn patience(&self) -> Duration {
        match self.policy.on_conflict {
            OnConflict::Fail => Duration::ZERO,
            OnConflict::Wait(limit) => limit,
        }
    }

    /// Nothing counts of what the call has done in its transaction.
    pub(super) fn rolled_back(&self, store: &'static str, source: StoreError) -> Error {
        self.emit(EventKind::StoreError, &source);
        Error::RolledBack { store, source }
    }
}
