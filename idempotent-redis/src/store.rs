use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use idempotent_core::protocol::{
    Claim, ClaimRequest, Completion, Grant, Holder, Release, StepReply, Update,
};
use idempotent_core::{Key, Step, Store, StoreError, Watch};
use redis::Client;
use redis::aio::{ConnectionLike, ConnectionManager};

use crate::error::Error;
use crate::notify::Notifications;
use crate::time::{Moment, ServerClock};

/// Records in Redis, or Valkey. See the [crate's documentation](crate) for what is promised.
///
/// # Clone
///
/// Clones are handles to the same records. They share one connection for notifications.
#[derive(Clone)]
pub struct RedisStore<C = ConnectionManager> {
    pub(crate) connection: C,
    pub(crate) prefix: Arc<str>,
    clock: Arc<ServerClock>,
    notifications: Option<Arc<Notifications>>,
}

impl<C> RedisStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    /// A store on `connection`, which is best one that clones share and that reconnects, such as a
    /// [`ConnectionManager`].
    ///
    /// Set its response timeout: the driver's is 500 ms. Waiting callers poll, unless
    /// [`with_notifications`](Self::with_notifications) says how to be told. Nothing is checked:
    /// see [`server`](Self::server).
    #[must_use]
    pub fn new(connection: C) -> Self {
        Self {
            connection,
            prefix: "idempotency:".into(),
            clock: Arc::default(),
            notifications: None,
        }
    }

    /// Sets what stands before each key in Redis; `idempotency:` by default.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<Arc<str>>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Lets waiting callers be told of an attempt's end, over one more connection for this store
    /// and all its clones. It is opened when somebody waits, through the first of `clients` that
    /// can be reached: the server's own, or one for each of several nodes of a cluster.
    #[must_use]
    pub fn with_notifications(mut self, clients: impl IntoIterator<Item = Client>) -> Self {
        self.notifications = Some(Arc::new(Notifications::new(clients.into_iter().collect())));
        self
    }

    /// The key in Redis.
    pub(crate) fn redis_key(&self, key: &Key) -> String {
        [&self.prefix, key.as_str()].concat()
    }

    pub(crate) async fn now(&self) -> Result<Moment, Error> {
        self.clock.now(&self.connection).await
    }
}

impl<C> Store for RedisStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn claim(&self, key: &Key, request: &ClaimRequest) -> Result<Claim, StoreError> {
        Ok(self.try_claim(key, request).await?)
    }

    async fn complete(
        &self,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<Update, StoreError> {
        Ok(self.try_complete(key, grant, completion).await?)
    }

    async fn record_step(
        &self,
        key: &Key,
        grant: &Grant,
        step: &Step,
        lease: Duration,
    ) -> Result<StepReply, StoreError> {
        Ok(self.try_record_step(key, grant, step, lease).await?)
    }

    async fn release(
        &self,
        key: &Key,
        holder: &Holder,
        release: Release,
    ) -> Result<Update, StoreError> {
        Ok(self.try_release(key, holder, release).await?)
    }

    async fn renew(&self, key: &Key, grant: &Grant, lease: Duration) -> Result<Update, StoreError> {
        Ok(self.try_renew(key, grant, lease).await?)
    }

    async fn watch(&self, key: &Key) -> Result<Watch, StoreError> {
        match &self.notifications {
            None => Ok(Watch::never()),
            Some(notifications) => Ok(notifications.watch(key, self.redis_key(key)).await?),
        }
    }
}

impl<C> fmt::Debug for RedisStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("prefix", &self.prefix)
            .field("notifications", &self.notifications.is_some())
            .finish_non_exhaustive()
    }
}
