//! Operations in a transaction that the caller has opened, and will end.

use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;

use super::claim::Asked;
use super::lent::Lent;
use crate::engine::caught::{Panic, caught};
use crate::engine::claim::Call;
use crate::engine::near_cache::Nearby;
use crate::engine::{Attempt, ErrorPolicy, EventKind, Mode, Operation};
use crate::error::{Error, StoreError, Unencodable};
use crate::outcome::{Provenance, Recordable, Reply};
use crate::protocol::{Completion, Grant, Recorded, Update};
use crate::record::Payload;
use crate::store::RecordsIn;

impl<P> Operation<P> {
    /// Runs `body` in a transaction that is open on `connection`, unless there is a recorded result;
    /// returns the result.
    ///
    /// The claim and the result live or die with that transaction: commit it, and roll it back after
    /// [`Error::RolledBack`]. Until it is committed, nobody else sees the result, and whoever calls with
    /// the same key waits for its end.
    ///
    /// An error or a panic of `body` undoes what it has written, by a savepoint, and the claim with it;
    /// an error that is to be recorded is recorded in its place. The transaction can go on after that.
    ///
    /// # Errors
    ///
    /// Those of `body`, and every [`Error`]. After [`Error::RolledBack`] and [`Error::Store`] the
    /// transaction is good for nothing but to be rolled back.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: if this is dropped, roll the transaction back.
    pub async fn run_within<'c, S, C: Send, R, F>(
        self,
        store: &S,
        connection: &'c mut C,
        body: impl FnOnce(Lent<&'c mut C>, Attempt) -> F,
    ) -> R
    where
        S: RecordsIn<C>,
        R: Reply,
        F: Future<Output = R>,
        P: ErrorPolicy<R::Error>,
    {
        let (call, errors) = match self.prepare() {
            Ok((Some(call), errors)) => (call, errors),
            Ok((None, _)) => {
                let (lent, _) = Lent::new(connection);
                let reply = body(lent, Attempt::unprotected(None)).await;
                return told(reply, Provenance::Unprotected);
            }
            Err(error) => return R::from_result(Err(error.into())),
        };
        let within = Within {
            call: &call,
            store,
            name: store.name(),
        };
        let is_shadow = call.shared().mode == Mode::Shadow;
        match within.find(connection).await {
            Ok(Found::Granted(grant)) => {
                let grant = Arc::new(grant);
                let attempt = Attempt::in_transaction(Arc::clone(&call), Arc::clone(&grant));
                let (lent, lender) = Lent::new(connection);
                let ended = caught(body(lent, attempt)).await;
                return match lender.back() {
                    Ok(connection) => within.end(connection, &grant, &errors, ended).await,
                    Err(source) => R::from_result(Err(within.rolled_back(source).into())),
                };
            }
            Ok(Found::Recorded(_)) if is_shadow => call.emit(EventKind::WouldReplay, &""),
            Ok(Found::Recorded(recorded)) => return call.replay(&recorded, &errors),
            Err(error) if is_shadow => call.emit(EventKind::Unprotected, &error),
            Err(error) => return R::from_result(Err(error.into())),
        }
        let (lent, _) = Lent::new(connection);
        let reply = body(lent, Attempt::unprotected(Some(Arc::clone(&call)))).await;
        told(reply, Provenance::Unprotected)
    }
}

/// What there is for a caller, before the operation's body.
enum Found {
    Granted(Grant),
    Recorded(Recorded),
}

struct Within<'a, S> {
    call: &'a Arc<Call>,
    store: &'a S,
    name: &'static str,
}

impl<S> Within<'_, S> {
    /// Claims, unless this process knows what there is. What the transaction finds is not remembered for
    /// others: it may be its own, and go with it.
    async fn find<C: Send>(&self, connection: &mut C) -> Result<Found, Error>
    where
        S: RecordsIn<C>,
    {
        match self.call.nearby() {
            Some(Nearby::Done(recorded)) => return Ok(Found::Recorded(recorded)),
            Some(Nearby::Mismatch) => return Err(self.call.mismatch()),
            None => {}
        }
        match self.claim(connection).await? {
            Asked::Busy(remaining) => Err(self.call.conflict(remaining)),
            Asked::Done(recorded) => Ok(Found::Recorded(recorded)),
            Asked::Granted(grant) => Ok(Found::Granted(grant)),
        }
    }

    /// Claims, behind a savepoint that is there only if the claim was granted.
    async fn claim<C: Send>(&self, connection: &mut C) -> Result<Asked, Error>
    where
        S: RecordsIn<C>,
    {
        let call = self.call;
        let failed = |error| {
            call.emit(EventKind::StoreError, &error);
            call.failed(self.name, error)
        };
        self.store.savepoint(connection).await.map_err(failed)?;
        let request = call.fresh_request()?;
        let claim = self
            .store
            .claim(connection, &call.key, &request, call.patience())
            .await;
        let claim = match claim {
            Ok(claim) => claim,
            Err(error) => {
                // In shadow mode the body runs all the same, in the transaction as it was. If it cannot be
                // had back, the body will find out.
                _ = self.store.undo(connection).await;
                return Err(failed(error));
            }
        };
        let asked = call.asked(claim);
        if !matches!(asked, Ok(Asked::Granted(_))) {
            // After a wait that was too long, too, this makes the transaction good again.
            self.store.undo(connection).await.map_err(failed)?;
        }
        asked
    }

    async fn end<C: Send, R, P>(
        &self,
        connection: &mut C,
        grant: &Grant,
        errors: &P,
        ended: Result<R, Panic>,
    ) -> R
    where
        S: RecordsIn<C>,
        R: Reply,
        P: ErrorPolicy<R::Error>,
    {
        let call = self.call;
        match ended.map(Reply::into_result) {
            Ok(Ok(value)) => {
                let payload = call.encode_whole(value.stored());
                match self.record(connection, grant, payload).await {
                    Ok(()) => {
                        let (attempt, kept) = (grant.attempt, true);
                        call.emit(EventKind::Executed, &format_args!("attempt {attempt}"));
                        R::from_result(Ok(value.told(Provenance::Executed { attempt, kept })))
                    }
                    Err(source) => R::from_result(Err(self.rolled_back(source).into())),
                }
            }
            Ok(Err(error)) => {
                if let Err(source) = self.store.undo(connection).await {
                    return R::from_result(Err(self.rolled_back(source).into()));
                }
                let recorded = match call.recordable(errors, &error) {
                    Some(payload) => self.record_error(connection, payload).await,
                    None => Ok(None),
                };
                match recorded {
                    Ok(Some(recorded)) => call.replay(&recorded, errors),
                    Ok(None) => {
                        call.emit(EventKind::Executed, &"an error, and all was undone");
                        R::from_result(Err(error))
                    }
                    Err(source) => R::from_result(Err(self.rolled_back(source).into())),
                }
            }
            Err(panic) => {
                if let Err(error) = self.store.undo(connection).await {
                    call.emit(EventKind::StoreError, &error);
                }
                resume_unwind(panic)
            }
        }
    }

    async fn record<C: Send>(
        &self,
        connection: &mut C,
        grant: &Grant,
        payload: Result<Payload, Unencodable>,
    ) -> Result<(), StoreError>
    where
        S: RecordsIn<C>,
    {
        let payload = payload.map_err(|reason| StoreError::Backend(reason.into()))?;
        let completion = Completion::value(payload, self.call.policy.ttl);
        self.complete(connection, grant, &completion).await?;
        self.store.release(connection).await
    }

    /// Records an error, behind a claim of its own. Returns what counts in its place, if something does.
    async fn record_error<C: Send>(
        &self,
        connection: &mut C,
        payload: Payload,
    ) -> Result<Option<Recorded>, StoreError>
    where
        S: RecordsIn<C>,
    {
        let call = self.call;
        match self.claim(connection).await {
            Ok(Asked::Granted(grant)) => {
                let completion = Completion::error(payload, call.policy.ttl);
                self.complete(connection, &grant, &completion).await?;
                self.store.release(connection).await?;
                Ok(None)
            }
            Ok(Asked::Done(recorded)) => Ok(Some(recorded)),
            Ok(Asked::Busy(_)) => Ok(None),
            Err(Error::Store { source, .. }) => Err(source),
            Err(error) => Err(StoreError::Backend(error.into())),
        }
    }

    async fn complete<C: Send>(
        &self,
        connection: &mut C,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<(), StoreError>
    where
        S: RecordsIn<C>,
    {
        let key = &self.call.key;
        let update = self.store.complete(connection, key, grant, completion);
        match update.await? {
            Update::Lost(_) => Err(StoreError::Backend(
                "the claim is not in this transaction any more: the operation must not end it"
                    .into(),
            )),
            Update::Applied | Update::Healed | Update::Repeated => Ok(()),
        }
    }

    fn rolled_back(&self, source: StoreError) -> Error {
        self.call.rolled_back(self.name, source)
    }
}

fn told<R: Reply>(reply: R, provenance: Provenance) -> R {
    R::from_result(reply.into_result().map(|value| value.told(provenance)))
}
