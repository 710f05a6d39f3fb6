use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::{Store, Watch};
use crate::error::StoreError;
use crate::key::Key;
use crate::protocol::{Claim, ClaimRequest, Completion, Grant, Holder, Release, StepReply, Update};
use crate::record::Step;

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

mod sealed {
    #[expect(unnameable_types, reason = "that is what seals a trait")]
    pub trait Sealed {}
    impl<S: super::Store> Sealed for S {}
}

/// [`Store`] behind a pointer, so that an engine is one type whatever it is built on.
///
/// Implemented for every [`Store`], and for nothing else. A call costs one box, about 50 ns.
pub trait DynStore: sealed::Sealed + Send + Sync + 'static {
    /// See [`Store::name`].
    fn name(&self) -> &'static str;

    /// See [`Store::claim`].
    fn claim<'a>(&'a self, key: &'a Key, request: &'a ClaimRequest) -> Answer<'a, Claim>;

    /// See [`Store::complete`].
    fn complete<'a>(
        &'a self,
        key: &'a Key,
        grant: &'a Grant,
        completion: &'a Completion,
    ) -> Answer<'a, Update>;

    /// See [`Store::record_step`].
    fn record_step<'a>(
        &'a self,
        key: &'a Key,
        grant: &'a Grant,
        step: &'a Step,
        lease: Duration,
    ) -> Answer<'a, StepReply>;

    /// See [`Store::release`].
    fn release<'a>(
        &'a self,
        key: &'a Key,
        holder: &'a Holder,
        release: Release,
    ) -> Answer<'a, Update>;

    /// See [`Store::renew`].
    fn renew<'a>(&'a self, key: &'a Key, grant: &'a Grant, lease: Duration) -> Answer<'a, Update>;

    /// See [`Store::watch`].
    fn watch<'a>(&'a self, key: &'a Key) -> Answer<'a, Watch>;
}

impl<S: Store> DynStore for S {
    fn name(&self) -> &'static str {
        Store::name(self)
    }

    fn claim<'a>(&'a self, key: &'a Key, request: &'a ClaimRequest) -> Answer<'a, Claim> {
        Box::pin(Store::claim(self, key, request))
    }

    fn complete<'a>(
        &'a self,
        key: &'a Key,
        grant: &'a Grant,
        completion: &'a Completion,
    ) -> Answer<'a, Update> {
        Box::pin(Store::complete(self, key, grant, completion))
    }

    fn record_step<'a>(
        &'a self,
        key: &'a Key,
        grant: &'a Grant,
        step: &'a Step,
        lease: Duration,
    ) -> Answer<'a, StepReply> {
        Box::pin(Store::record_step(self, key, grant, step, lease))
    }

    fn release<'a>(
        &'a self,
        key: &'a Key,
        holder: &'a Holder,
        release: Release,
    ) -> Answer<'a, Update> {
        Box::pin(Store::release(self, key, holder, release))
    }

    fn renew<'a>(&'a self, key: &'a Key, grant: &'a Grant, lease: Duration) -> Answer<'a, Update> {
        Box::pin(Store::renew(self, key, grant, lease))
    }

    fn watch<'a>(&'a self, key: &'a Key) -> Answer<'a, Watch> {
        Box::pin(Store::watch(self, key))
    }
}
