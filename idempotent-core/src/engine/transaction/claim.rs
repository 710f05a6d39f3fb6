//! Claims in transactions that the store opens.

use std::time::Duration;

use crate::engine::EventKind;
use crate::engine::claim::Call;
use crate::error::{Error, StoreError};
use crate::lease::Owner;
use crate::protocol::{Claim, ClaimRequest, Grant, Recorded};
use crate::store::TransactionalStore;
use crate::sync::time::{Instant, sleep};

/// How often a transaction is opened anew because the store failed for a moment.
const TRIES: u32 = 4;
/// The first pause between two such tries; each is five times as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

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
        let mut pause = FIRST_PAUSE;
        let mut tries = 0;
        loop {
            let request = self.fresh_request()?;
            let patience = deadline.saturating_duration_since(Instant::now());
            tries += 1;
            match store.claim(&self.key, &request, patience).await {
                Ok((transaction, claim)) => match self.asked(claim) {
                    Ok(asked) => return Ok((transaction, asked)),
                    Err(error) => {
                        store.rollback(transaction).await;
                        return Err(error);
                    }
                },
                Err(error) => {
                    self.emit(EventKind::StoreError, &error);
                    if tries == TRIES || !matches!(error, StoreError::Unavailable(_)) {
                        return Err(self.failed(store.name(), error));
                    }
                }
            }
            sleep(pause).await;
            pause *= 5;
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
            Claim::InDoubt(_) => {
                self.emit(EventKind::InDoubt, &"");
                Err(Error::InDoubt)
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
}
