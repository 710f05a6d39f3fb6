use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use idempotent_core::StoreError;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::sentinel::SentinelClient;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult,
    ServerErrorKind, Value,
};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::connect::{ConnectOptions, QUEUE};
use crate::notify::Servers;
use crate::store::RedisStore;

/// A connection to whichever server Sentinel says is the master.
///
/// When the connection is lost, a reply does not come in time, or the server turns out to be a
/// replica, the call fails, and the next one asks Sentinel again.
///
/// # Clone
///
/// Clones share one connection.
#[derive(Clone)]
pub struct SentinelConnection(Arc<Shared>);

struct Shared {
    sentinel: Mutex<SentinelClient>,
    current: RwLock<Option<Current>>,
    config: AsyncConnectionConfig,
    patience: Duration,
}

/// A connection, and which one it is of those that there have been.
#[derive(Clone)]
struct Current {
    connection: MultiplexedConnection,
    number: u64,
}

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
    ) -> Result<RedisStore<SentinelConnection>, StoreError> {
        let connection = SentinelConnection(Arc::new(Shared {
            sentinel: Mutex::new(sentinel),
            current: RwLock::default(),
            config: AsyncConnectionConfig::new()
                .set_connection_timeout(Some(self.connection_timeout))
                .set_response_timeout(Some(self.response_timeout))
                .set_pipeline_buffer_size(QUEUE),
            patience: self.connection_timeout,
        }));
        let store = RedisStore::new(connection.clone()).notified_by(Servers::Master(connection));
        self.check(&store).await?;
        Ok(store)
    }
}

impl SentinelConnection {
    /// Asks Sentinel for the master.
    pub(crate) async fn client(&self) -> RedisResult<Client> {
        let mut sentinel = self.0.sentinel.lock().await;
        timeout(self.0.patience, sentinel.async_get_client())
            .await
            .map_err(|_| too_late())?
    }

    /// The connection in use, or a new one.
    async fn current(&self) -> RedisResult<Current> {
        if let Some(current) = self.known() {
            return Ok(current);
        }
        let mut sentinel = self.0.sentinel.lock().await;
        // Whoever had the lock before may have connected already.
        if let Some(current) = self.known() {
            return Ok(current);
        }
        let connecting = sentinel.get_async_connection_with_config(&self.0.config);
        let connection = timeout(self.0.patience, connecting)
            .await
            .map_err(|_| too_late())??;
        let mut current = self
            .0
            .current
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let number = current.as_ref().map_or(0, |last| last.number + 1);
        Ok(current.insert(Current { connection, number }).clone())
    }

    fn known(&self) -> Option<Current> {
        self.0
            .current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Gives the connection with this number up, unless there is a newer one.
    fn give_up(&self, number: u64) {
        let mut current = self
            .0
            .current
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        current.take_if(|current| current.number == number);
    }

    fn judge<T>(&self, number: u64, answer: RedisResult<T>) -> RedisResult<T> {
        if let Err(error) = &answer
            && (error.is_unrecoverable_error()
                || error.is_timeout()
                || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly))
        {
            self.give_up(number);
        }
        answer
    }
}

impl ConnectionLike for SentinelConnection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let Current {
                mut connection,
                number,
            } = self.current().await?;
            self.judge(number, connection.req_packed_command(cmd).await)
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let Current {
                mut connection,
                number,
            } = self.current().await?;
            self.judge(
                number,
                connection.req_packed_commands(cmd, offset, count).await,
            )
        })
    }

    fn get_db(&self) -> i64 {
        self.known()
            .map_or(0, |current| current.connection.get_db())
    }
}

impl fmt::Debug for SentinelConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentinelConnection").finish_non_exhaustive()
    }
}

fn too_late() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}
