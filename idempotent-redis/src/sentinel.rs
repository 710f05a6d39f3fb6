use idempotent_core::StoreError;
use redis::sentinel::SentinelClient;

use crate::connect::ConnectOptions;
use crate::notify::Servers;
use crate::reconnect::Reconnecting;
use crate::store::RedisStore;

impl ConnectOptions {
    /// Connects to the master that `sentinel` is about, and goes along with failovers.
    ///
    /// Build the client with `TCP_NODELAY` for the servers
    /// ([`set_client_to_redis_tcp_settings`](redis::sentinel::SentinelClientBuilder)).
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect).
    pub async fn connect_sentinel(
        &self,
        sentinel: SentinelClient,
    ) -> Result<RedisStore, StoreError> {
        let connection = Reconnecting::to_master(sentinel, self);
        let store = RedisStore::new(connection.clone()).notified_by(Servers::Of(connection));
        self.check(&store).await?;
        Ok(store)
    }
}
