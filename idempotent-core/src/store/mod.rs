//! The contract between the engine and the places where records are kept.

mod boxed;
mod inspect;
mod transaction;
mod watch;

use std::future::Future;
use std::time::Duration;

pub use self::boxed::DynStore;
pub use self::inspect::{
    Deletion, Entry, Inspect, InspectExt, Page, Purged, Query, Resolution, ResolveError, Statistics,
};
pub use self::transaction::{CommitError, RecordsIn, TransactionalStore};
pub use self::watch::{Watch, Watchers};
use crate::error::StoreError;
use crate::key::Key;
use crate::protocol::{Claim, ClaimRequest, Completion, Grant, Holder, Release, StepReply, Update};
use crate::record::Step;

/// Where records are kept.
///
/// # Contract
///
/// A store is mechanism only: whether a conflict waits, fails or replays is up to
/// [`Engine`](crate::Engine). Each method answers as [`apply`](crate::protocol::apply) does, for
/// the record under `key` and the present moment, and leaves the record that `apply` leaves.
///
/// - Every method is atomic: of any number of concurrent claims to one key, at most one is granted.
/// - Time is the store's own. Durations cross this trait, instants do not, so that two processes
///   whose clocks disagree still agree on who owns a key.
/// - A record past its end is absent, whether it has been purged or not.
/// - A write that does not show the owner and the fence in force changes nothing, whatever any clock
///   says.
/// - What is not a record of a known format is [`StoreError::Corrupt`] or
///   [`StoreError::Incompatible`], and is never overwritten.
/// - An error means that the change may or may not have been applied. Repeating the call is safe,
///   and gives the answer that was lost.
/// - A store that is full refuses to start work, never to keep or to finish it.
///
/// The `idempotent-testkit` crate tests these points.
///
/// # Clone
///
/// A clone of a store is another handle to the same records.
///
/// # Cancel safety
///
/// The engine lets each call run to its end, even when the caller's future is dropped. A store need
/// not survive the drop of its futures in mid-call, but a dropped call must not harm later ones.
pub trait Store: Clone + Send + Sync + 'static {
    /// What this store is called in errors and events, as in `redis`.
    fn name(&self) -> &'static str;

    /// Claims `key`, or reports what is there.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn claim(
        &self,
        key: &Key,
        request: &ClaimRequest,
    ) -> impl Future<Output = Result<Claim, StoreError>> + Send;

    /// Records the result of the operation that runs under `grant`.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn complete(
        &self,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> impl Future<Output = Result<Update, StoreError>> + Send;

    /// Records a finished part of the operation that runs under `grant`, and renews the lease.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn record_step(
        &self,
        key: &Key,
        grant: &Grant,
        step: &Step,
        lease: Duration,
    ) -> impl Future<Output = Result<StepReply, StoreError>> + Send;

    /// Ends an attempt without a result, or resolves a doubt as not executed.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn release(
        &self,
        key: &Key,
        holder: &Holder,
        release: Release,
    ) -> impl Future<Output = Result<Update, StoreError>> + Send;

    /// Lets `grant` hold for another `lease` from now.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn renew(
        &self,
        key: &Key,
        grant: &Grant,
        lease: Duration,
    ) -> impl Future<Output = Result<Update, StoreError>> + Send;

    /// Subscribes to the end of the attempt in progress under `key`.
    ///
    /// Messages may be lost, late or spurious: whoever is woken claims again. A store without
    /// notifications returns [`Watch::never`]. The subscription is in force when this returns, so
    /// that nothing is missed between it and a later claim with
    /// [`wait`](ClaimRequest::wait).
    ///
    /// # Errors
    ///
    /// See [`StoreError`]. The engine goes on by polling.
    fn watch(&self, key: &Key) -> impl Future<Output = Result<Watch, StoreError>> + Send;
}
