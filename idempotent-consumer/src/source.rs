//! Where deliveries come from.

use std::future::Future;

use idempotent_core::BoxError;

use crate::settle::{Capabilities, Delivery, Settle};

/// A stream of deliveries.
pub trait Source: Send {
    /// What settles them.
    type Settle: Settle;

    /// What the broker can do.
    fn capabilities(&self) -> Capabilities;

    /// Waits for the next delivery; `None` if there will be none. A source whose connection is lost gets
    /// itself another one, for as long as there is hope.
    ///
    /// # Errors
    ///
    /// [`SourceError`]: there is no hope.
    ///
    /// # Cancel safety
    ///
    /// Must be cancel safe: if it is dropped, no delivery is lost.
    fn next(
        &mut self,
    ) -> impl Future<Output = Result<Option<Delivery<Self::Settle>>, SourceError>> + Send;
}

/// A source has come to an end that it should not have come to.
#[derive(Debug, thiserror::Error)]
#[error("the source of deliveries has failed")]
pub struct SourceError(#[source] BoxError);

impl SourceError {
    /// Why it has failed.
    pub fn new(source: impl Into<BoxError>) -> Self {
        Self(source.into())
    }
}
