use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use idempotent_core::protocol::{
    Claim, ClaimRequest, Completion, Grant, Holder, Release, StepReply, Update,
};
use idempotent_core::{Key, Step, Store, StoreError, Watch};
use redis::Client;
use redis::aio::ConnectionLike;

use crate::error::Error;
use crate::notify::{Notifications, Servers};
use crate::reconnect::Reconnecting;
use crate::replicas::Replicas;
use crate::time::{Moment, ServerClock};

/// Records in Redis, or Valkey. See the [crate's documentation](crate) for what is promised.
///
/// # Clone
///
/// Clones are handles to the same records. They share one connection for notifications.
#[derive(Clone)]
pub struct RedisStore<C = Reconnecting> {
    pub(crate) connection: C,
    pub(crate) prefix: Arc<str>,
    clock: Arc<ServerClock>,
    notifications: Option<Arc<Notifications>>,
    replicas: Option<Arc<Replicas<C>>>,
}

impl<C> RedisStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    /// A store on `connection`, which is best one that clones share and that reconnects, such as a
    /// [`Reconnecting`].
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
            replicas: None,
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
    pub fn with_notifications(self, clients: impl IntoIterator<Item = Client>) -> Self {
        self.notified_by(Servers::AnyOf(clients.into_iter().collect()))
    }

    pub(crate) fn notified_by(mut self, servers: Servers) -> Self {
        self.notifications = Some(Arc::new(Notifications::new(servers)));
        self
    }

    /// Answers that something was written only once `count` replicas have it, and fails as
    /// unavailable after `patience`. Such an answer asks for a repetition, as the engine does: the
    /// write has been applied, and is found again.
    ///
    /// This narrows what a failover may lose, and does not close it: a replica that has less may be
    /// the one that is promoted. It costs a round trip to the replicas for each write, not for a
    /// replay or a renewal. `connection` is another one to the same server, whose answers may take
    /// longer than `patience`; calls at the same time share it. Not for clusters, where `WAIT` asks
    /// every node.
    #[must_use]
    pub fn with_replicas(mut self, connection: C, count: usize, patience: Duration) -> Self {
        self.replicas = Some(Arc::new(Replicas::new(connection, count as u64, patience)));
        self
    }

    async fn replicated(&self, written: bool) -> Result<(), Error> {
        match &self.replicas {
            Some(replicas) if written => replicas.confirm().await,
            _ => Ok(()),
        }
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
        let claim = self.try_claim(key, request).await?;
        self.replicated(matches!(claim, Claim::Granted(_))).await?;
        Ok(claim)
    }

    async fn complete(
        &self,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<Update, StoreError> {
        let update = self.try_complete(key, grant, completion).await?;
        self.replicated(!matches!(update, Update::Lost(_))).await?;
        Ok(update)
    }

    async fn record_step(
        &self,
        key: &Key,
        grant: &Grant,
        step: &Step,
        lease: Duration,
    ) -> Result<StepReply, StoreError> {
        let reply = self.try_record_step(key, grant, step, lease).await?;
        self.replicated(!matches!(reply, StepReply::Lost(_)))
            .await?;
        Ok(reply)
    }

    async fn release(
        &self,
        key: &Key,
        holder: &Holder,
        release: Release,
    ) -> Result<Update, StoreError> {
        let update = self.try_release(key, holder, release).await?;
        self.replicated(!matches!(update, Update::Lost(_))).await?;
        Ok(update)
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
