use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, StoreError};
use crate::key::Key;
use crate::protocol::{Claim, ClaimRequest, Completion, Grant, Update};
use crate::record::Step;

/// A store that opens transactions: the claim, the operation's own writes and the result are
/// committed together, or not at all.
///
/// For effects in that database, and for no others, this is exactly once. A claim needs no lease: if
/// its process dies, the database rolls it back, and nobody has ever seen it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no transactions",
    label = "not a store with transactions",
    note = "name a store whose records and your own rows are in one database, such as SQLite or \
            PostgreSQL, or leave `transaction(..)` out"
)]
pub trait TransactionalStore: Send + Sync {
    /// An open transaction, and what the operation writes through. If it is dropped, it is rolled back
    /// before anybody else can use its connection.
    type Transaction: Send;

    /// What this store is called in errors and events, as in `sqlite`.
    fn name(&self) -> &'static str;

    /// Opens a transaction, without a claim.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn begin(&self) -> impl Future<Output = Result<Self::Transaction, StoreError>> + Send;

    /// Opens a transaction and claims `key` in it, or reports what is there. Another transaction that
    /// has claimed it, and is still open, is waited for, for up to `patience`; after that the answer is
    /// [`Claim::Busy`]. A transaction without a grant is good for nothing but to be rolled back.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn claim(
        &self,
        key: &Key,
        request: &ClaimRequest,
        patience: Duration,
    ) -> impl Future<Output = Result<(Self::Transaction, Claim), StoreError>> + Send;

    /// Records the result of the operation that runs under `grant`, and commits.
    ///
    /// # Errors
    ///
    /// [`CommitError`] says whether that is certain. [`CommitError::RolledBack`] also if an earlier
    /// statement has failed and with it the transaction, or if the claim is not there any more.
    fn complete(
        &self,
        transaction: Self::Transaction,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> impl Future<Output = Result<(), CommitError>> + Send;

    /// Like [`complete`](Self::complete), for an operation that has claimed its key before this transaction
    /// began: its record may have steps, and callers who wait.
    ///
    /// # Errors
    ///
    /// As for [`complete`](Self::complete).
    fn finish(
        &self,
        transaction: Self::Transaction,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> impl Future<Output = Result<(), CommitError>> + Send;

    /// Records a finished part of the operation that runs under `grant`, which has claimed its key before
    /// this transaction began; renews the lease, and commits.
    ///
    /// # Errors
    ///
    /// [`CommitError`] says whether that is certain. [`CommitError::RolledBack`] also if the record is not
    /// held under this grant, or a step of this name is there already.
    fn record_step(
        &self,
        transaction: Self::Transaction,
        key: &Key,
        grant: &Grant,
        step: &Step,
        lease: Duration,
    ) -> impl Future<Output = Result<(), CommitError>> + Send;

    /// Commits.
    ///
    /// # Errors
    ///
    /// [`CommitError`] says whether that is certain.
    fn commit(
        &self,
        transaction: Self::Transaction,
    ) -> impl Future<Output = Result<(), CommitError>> + Send;

    /// Rolls back. There is nobody to tell of an error: a connection that cannot is closed, which has
    /// the same effect.
    fn rollback(&self, transaction: Self::Transaction) -> impl Future<Output = ()> + Send;
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<S: TransactionalStore> TransactionalStore for $pointer {
            type Transaction = S::Transaction;

            fn name(&self) -> &'static str {
                (**self).name()
            }

            fn begin(&self) -> impl Future<Output = Result<Self::Transaction, StoreError>> + Send {
                (**self).begin()
            }

            fn claim(
                &self,
                key: &Key,
                request: &ClaimRequest,
                patience: Duration,
            ) -> impl Future<Output = Result<(Self::Transaction, Claim), StoreError>> + Send {
                (**self).claim(key, request, patience)
            }

            fn complete(
                &self,
                transaction: Self::Transaction,
                key: &Key,
                grant: &Grant,
                completion: &Completion,
            ) -> impl Future<Output = Result<(), CommitError>> + Send {
                (**self).complete(transaction, key, grant, completion)
            }

            fn finish(
                &self,
                transaction: Self::Transaction,
                key: &Key,
                grant: &Grant,
                completion: &Completion,
            ) -> impl Future<Output = Result<(), CommitError>> + Send {
                (**self).finish(transaction, key, grant, completion)
            }

            fn record_step(
                &self,
                transaction: Self::Transaction,
                key: &Key,
                grant: &Grant,
                step: &Step,
                lease: Duration,
            ) -> impl Future<Output = Result<(), CommitError>> + Send {
                (**self).record_step(transaction, key, grant, step, lease)
            }

            fn commit(
                &self,
                transaction: Self::Transaction,
            ) -> impl Future<Output = Result<(), CommitError>> + Send {
                (**self).commit(transaction)
            }

            fn rollback(&self, transaction: Self::Transaction) -> impl Future<Output = ()> + Send {
                (**self).rollback(transaction)
            }
        }
    )*};
}

forward!(&S, Arc<S>);

/// A store that keeps records in a transaction which the caller has opened, on a connection of type `C`.
///
/// What is written counts when the caller commits, and not before.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot keep records in a transaction of `{C}`",
    label = "no records in a `{C}`"
)]
pub trait RecordsIn<C: Send>: Send + Sync {
    /// What this store is called in errors and events, as in `sqlite`.
    fn name(&self) -> &'static str;

    /// Claims `key`, or reports what is there; as [`TransactionalStore::claim`] does.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn claim(
        &self,
        connection: &mut C,
        key: &Key,
        request: &ClaimRequest,
        patience: Duration,
    ) -> impl Future<Output = Result<Claim, StoreError>> + Send;

    /// Records the result of the operation that runs under `grant`. [`Update::Lost`] if the claim is
    /// not there, as when the transaction was ended meanwhile.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; also if an earlier statement has failed, and with it the transaction.
    fn complete(
        &self,
        connection: &mut C,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> impl Future<Output = Result<Update, StoreError>> + Send;

    /// Marks this point of the transaction.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn savepoint(&self, connection: &mut C) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Forgets the last [`savepoint`](Self::savepoint), and keeps what came after it.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn release(&self, connection: &mut C) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Undoes everything since the last [`savepoint`](Self::savepoint), and forgets it.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn undo(&self, connection: &mut C) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Why a commit was not acknowledged.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "it is known, or it is not")]
pub enum CommitError {
    /// The database has rolled the transaction back.
    #[error("the transaction was rolled back")]
    RolledBack(#[source] StoreError),
    /// The connection was lost before the database said what it did.
    #[error("nobody knows whether the transaction was committed")]
    Unknown(#[source] StoreError),
}

impl CommitError {
    /// What it means to the caller of an operation.
    pub(crate) fn into_error(self, store: &'static str) -> Error {
        match self {
            Self::RolledBack(source) => Error::RolledBack { store, source },
            Self::Unknown(source) => Error::CommitUnknown { store, source },
        }
    }
}
