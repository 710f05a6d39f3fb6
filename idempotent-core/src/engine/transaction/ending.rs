use std::fmt;
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::sync::Arc;

use super::commit::{Claimed, Committed};
use crate::engine::caught::Panic;
use crate::engine::claim::Call;
use crate::engine::running::{ErrorEnd, end_of};
use crate::engine::{Attempt, ErrorPolicy, EventKind};
use crate::error::{Error, StoreError};
use crate::outcome::{Provenance, Recordable, Reply};
use crate::protocol::Completion;
use crate::record::Payload;
use crate::store::TransactionalStore;

/// An operation whose body is to run in an open transaction.
#[doc(hidden)]
pub struct InTransaction<'a, S, T, R, P> {
    pub(super) pending: Pending<'a, S, R, P>,
    pub(super) transaction: T,
}

/// What is to become of an operation when its body has ended.
pub(super) struct Pending<'a, S, R, P> {
    pub(super) claimed: Option<Claimed<'a>>,
    pub(super) errors: &'a P,
    pub(super) reply: PhantomData<fn() -> R>,
    pub(super) store: &'a S,
}

/// How a transaction has ended.
pub(super) enum Ended<R> {
    /// This is what counts.
    Reply(R),
    /// Nothing of it counts, though the body has not asked for that.
    RolledBack(Error),
    /// The database has given it up in the middle, which the body's error says.
    GivenUp(R),
}

impl<'a, S, R, P> InTransaction<'a, S, S::Transaction, R, P>
where
    S: TransactionalStore,
    R: Reply,
    P: ErrorPolicy<R::Error>,
{
    /// What the body may know of itself.
    #[must_use]
    pub fn attempt(&self) -> Attempt {
        match &self.pending.claimed {
            Some(Claimed { call, grant, .. }) => {
                Attempt::in_transaction(Arc::clone(call), Arc::clone(grant))
            }
            None => Attempt::unprotected(None),
        }
    }

    /// What the body writes through.
    pub const fn transaction(&mut self) -> &mut S::Transaction {
        &mut self.transaction
    }

    /// Commits what the body has done, with its result; or rolls it back.
    pub async fn finish(self, ended: Result<R, Panic>) -> R {
        let (pending, transaction) = self.split();
        match pending.end(Ok(transaction), ended).await {
            Ended::Reply(reply) | Ended::GivenUp(reply) => reply,
            Ended::RolledBack(error) => R::from_result(Err(error.into())),
        }
    }

    pub(super) fn split(self) -> (Pending<'a, S, R, P>, S::Transaction) {
        (self.pending, self.transaction)
    }
}

impl<S, R, P> Pending<'_, S, R, P>
where
    S: TransactionalStore,
    R: Reply,
    P: ErrorPolicy<R::Error>,
{
    /// Commits what the body has done, with its result; or rolls it back.
    pub(super) async fn end(
        self,
        transaction: Result<S::Transaction, StoreError>,
        ended: Result<R, Panic>,
    ) -> Ended<R> {
        match (ended.map(Reply::into_result), transaction) {
            (Ok(Ok(value)), Ok(transaction)) => self.end_with(value, transaction).await,
            (Ok(Ok(_)), Err(source)) => {
                let store = self.store.name();
                Ended::RolledBack(Error::RolledBack { store, source })
            }
            (Ok(Err(error)), transaction) => {
                self.roll_back(transaction).await;
                self.end_with_error(error).await
            }
            (Err(panic), transaction) => {
                self.roll_back(transaction).await;
                resume_unwind(panic)
            }
        }
    }

    async fn roll_back(&self, transaction: Result<S::Transaction, StoreError>) {
        if let Ok(transaction) = transaction {
            self.store.rollback(transaction).await;
        }
    }

    async fn end_with(self, value: R::Value, transaction: S::Transaction) -> Ended<R> {
        let Self {
            claimed,
            errors,
            store,
            ..
        } = self;
        let Some(claimed) = claimed else {
            return match store.commit(transaction).await {
                Ok(()) => reply_of(value, Provenance::Unprotected),
                Err(error) => Ended::RolledBack(error.into_error(store.name())),
            };
        };
        let call = claimed.call;
        let completion = match call.encode_whole(value.stored()) {
            Ok(payload) => Completion::value(payload, call.policy.ttl),
            Err(reason) => {
                store.rollback(transaction).await;
                call.emit(EventKind::Unrecorded, &reason);
                let source = StoreError::Backend(reason.into());
                let store = store.name();
                return Ended::RolledBack(Error::RolledBack { store, source });
            }
        };
        match claimed.complete(store, transaction, &completion).await {
            Ok(Committed::Own) => {
                let attempt = claimed.grant.attempt;
                let kept = true;
                reply_of(value, Provenance::Executed { attempt, kept })
            }
            Ok(Committed::Another(recorded)) => Ended::Reply(call.replay(&recorded, errors)),
            Err(error) => Ended::RolledBack(error),
        }
    }

    /// Records an error if that is to be recorded, after all that the body has done was rolled back.
    async fn end_with_error(self, error: R::Error) -> Ended<R> {
        if self.errors.reruns(&error) {
            return Ended::GivenUp(R::from_result(Err(error)));
        }
        let Some(claimed) = self.claimed else {
            return Ended::Reply(R::from_result(Err(error)));
        };
        let call = claimed.call;
        let recorded = if let Some(payload) = call.recordable(self.errors, &error) {
            claimed.record_error(self.store, payload).await
        } else {
            call.emit(EventKind::Executed, &"an error, and all was rolled back");
            None
        };
        Ended::Reply(match recorded {
            Some(recorded) => call.replay(&recorded, self.errors),
            None => R::from_result(Err(error)),
        })
    }
}

fn reply_of<R: Reply>(value: R::Value, provenance: Provenance) -> Ended<R> {
    Ended::Reply(R::from_result(Ok(value.told(provenance))))
}

impl Call {
    /// `error`, if it is to be recorded and can be. Nothing has happened that could be in doubt.
    pub(super) fn recordable<E, P: ErrorPolicy<E>>(
        &self,
        errors: &P,
        error: &E,
    ) -> Option<Payload> {
        match end_of(self, errors, error) {
            ErrorEnd::Record(payload) => Some(payload),
            _ => None,
        }
    }
}

impl<S, T, R, P> fmt::Debug for InTransaction<'_, S, T, R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InTransaction")
            .field("claimed", &self.pending.claimed)
            .finish_non_exhaustive()
    }
}
