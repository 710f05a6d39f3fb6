//! Who claims a message, and who records what became of it.

#![expect(
    private_bounds,
    private_interfaces,
    reason = "what a mode does is between it and its worker, and cannot be called from outside"
)]

use std::fmt;
use std::future::Future;

use idempotent_core::{Error, Lent, Outcome, TransactionalStore};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call::{Call, Reply};
use crate::ended::{Ended, Failure};
use crate::handler::{Context, HandlerError};
use crate::message::Message;

/// How a handler is protected: [`Leased`], [`Transactional`] or [`Annotated`].
pub trait Mode: sealed::Protect {}

/// Under a lease, which is renewed for as long as the handler runs.
pub struct Leased<H>(pub(crate) H);

/// In a transaction, with what the handler writes.
pub struct Transactional<S, H> {
    pub(crate) store: S,
    pub(crate) handler: H,
}

/// By the handler itself.
pub struct Annotated<H>(pub(crate) H);

pub(crate) mod sealed {
    use super::{Call, DeserializeOwned, Future, Reply, Serialize};

    #[expect(unnameable_types, reason = "that is what seals a trait")]
    pub trait Protect: Send + Sync + 'static {
        /// What the handler returns.
        type Value: Serialize + DeserializeOwned + Send + 'static;

        /// Runs the handler, or finds what there is in its place.
        fn reply(&self, call: &Call<'_>) -> impl Future<Output = Reply<Self::Value>> + Send;
    }
}

impl<M: sealed::Protect> Mode for M {}

impl<H, F, T> sealed::Protect for Leased<H>
where
    H: Fn(Message, Context) -> F + Send + Sync + 'static,
    F: Future<Output = Result<T, HandlerError>> + Send,
    T: Serialize + DeserializeOwned + Send + 'static,
{
    type Value = T;

    async fn reply(&self, call: &Call<'_>) -> Reply<T> {
        let attempt = |attempt| call.attempt(attempt, &self.0);
        call.operation().run_with(attempt).await
    }
}

impl<S, H, F, T> sealed::Protect for Transactional<S, H>
where
    S: TransactionalStore + 'static,
    H: Fn(Lent<S::Transaction>, Message, Context) -> F + Send + Sync + 'static,
    F: Future<Output = Result<T, HandlerError>> + Send,
    T: Serialize + DeserializeOwned + Send + 'static,
{
    type Value = T;

    async fn reply(&self, call: &Call<'_>) -> Reply<T> {
        let handler = &self.handler;
        let attempt = |transaction, attempt| {
            call.attempt(attempt, move |message, context| {
                handler(transaction, message, context)
            })
        };
        let reply = call.operation().run_in_with(&self.store, attempt).await;
        call.count(reply, &call.consumer.config().scope).await
    }
}

impl<H, F, T> sealed::Protect for Annotated<H>
where
    H: Fn(Message) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Outcome<T>, HandlerError>> + Send,
    T: Serialize + DeserializeOwned + Send + 'static,
{
    type Value = T;

    async fn reply(&self, call: &Call<'_>) -> Reply<T> {
        let message = call.message.clone();
        let reply = call.run(async { (self.0)(message).await }).await;
        let reply = reply.map_err(|error| match error.downcast::<Error>() {
            Ok(engine) => Ended::Engine(engine),
            Err(error) => Ended::Failed(Failure::uncounted(error)),
        });
        // Not the function's own record, in case that it has the same scope.
        let scope = format!("{} failures", call.consumer.config().scope);
        call.count(reply, &scope).await
    }
}

macro_rules! debug {
    ($($mode:ident<$($parameter:ident),*>),*) => {$(
        impl<$($parameter),*> fmt::Debug for $mode<$($parameter),*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($mode))
            }
        }
    )*};
}

debug!(Annotated<H>, Leased<H>, Transactional<S, H>);
