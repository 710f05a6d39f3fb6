use std::time::Duration;

use idempotent_core::StoreError;
use redis::io::tcp::TcpSettings;
use redis::{Client, ConnectionInfo, IntoConnectionInfo};

use crate::error::Error;
use crate::notify::Servers;
use crate::reconnect::Reconnecting;
use crate::store::RedisStore;

/// How long the driver's queue is. Its own 50 makes callers wait for each other.
pub(crate) const QUEUE: usize = 4_096;
/// How long a peer may leave data unacknowledged before the connection counts as dead. Without it,
/// a connection through a broken network hangs for a quarter of an hour.
const DEAD_AFTER: Duration = Duration::from_secs(10);

/// How to connect to a server, and what to insist on.
///
/// # Examples
///
/// ```no_run
/// // It needs a server.
/// # async fn connect() -> Result<(), idempotent_core::StoreError> {
/// use std::time::Duration;
///
/// use idempotent_redis::ConnectOptions;
///
/// let options = ConnectOptions::new().with_response_timeout(Duration::from_millis(500));
/// let store = options.connect("redis://127.0.0.1/").await?.with_prefix("payments:");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ConnectOptions {
    pub(crate) allow_eviction: bool,
    pub(crate) connection_timeout: Duration,
    pub(crate) response_timeout: Duration,
}

impl ConnectOptions {
    /// Timeouts of 2 s, and a server that must not evict records.
    pub const fn new() -> Self {
        Self {
            allow_eviction: false,
            connection_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(2),
        }
    }

    /// Accepts a server that evicts records when it is full. A call whose record was evicted runs
    /// again.
    pub const fn allow_eviction(mut self) -> Self {
        self.allow_eviction = true;
        self
    }

    /// Sets how long a connection may take to be made.
    pub const fn with_connection_timeout(mut self, timeout: Duration) -> Self {
        self.connection_timeout = timeout;
        self
    }

    /// Sets how long an answer may take. A command that was not answered may have been carried out;
    /// the engine then repeats it.
    pub const fn with_response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// Connects to one server, asks it what it promises, and connects again whenever the connection
    /// is lost.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misconfigured`] if the server is too old, or may evict records and this was
    /// not [allowed](Self::allow_eviction); [`StoreError::Unavailable`] if it cannot be reached.
    pub async fn connect(
        &self,
        server: impl IntoConnectionInfo + Send,
    ) -> Result<RedisStore, StoreError> {
        let connection = self.connection(server)?;
        let store = RedisStore::new(connection.clone()).notified_by(Servers::Of(connection));
        self.check(&store).await?;
        Ok(store)
    }

    /// A connection to one server, which is made when it is first used: for a store, or for its
    /// [replicas](RedisStore::with_replicas), which need one of their own.
    ///
    /// # Errors
    ///
    /// If `server` does not say where the server is.
    pub fn connection(&self, server: impl IntoConnectionInfo) -> Result<Reconnecting, StoreError> {
        Ok(Reconnecting::to_server(client(server)?, self))
    }

    pub(crate) async fn check<C>(&self, store: &RedisStore<C>) -> Result<(), StoreError>
    where
        C: redis::aio::ConnectionLike + Clone + Send + Sync + 'static,
    {
        let server = store.server().await?;
        match server.check() {
            Err(error) if self.allow_eviction => {
                server.check_version()?;
                tracing::warn!(policy = server.eviction, %error, "records may be evicted");
                Ok(())
            }
            checked => checked,
        }
    }
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl RedisStore {
    /// Connects to one server with the [default options](ConnectOptions::new).
    ///
    /// # Errors
    ///
    /// As for [`ConnectOptions::connect`].
    pub async fn connect(server: impl IntoConnectionInfo + Send) -> Result<Self, StoreError> {
        ConnectOptions::new().connect(server).await
    }
}

/// A client that sends at once, says who it is, and notices a dead peer.
pub(crate) fn client(server: impl IntoConnectionInfo) -> Result<Client, Error> {
    Ok(Client::open(settings(server.into_connection_info()?))?)
}

pub(crate) fn settings(server: ConnectionInfo) -> ConnectionInfo {
    let redis = server.redis_settings().clone();
    let redis = redis.set_lib_name(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    server
        .set_redis_settings(redis)
        .set_tcp_settings(tcp_settings())
}

pub(crate) fn tcp_settings() -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let settings = settings.set_user_timeout(DEAD_AFTER);
    settings
}
