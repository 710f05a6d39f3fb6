use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
#[cfg(feature = "sentinel")]
use redis::sentinel::SentinelClient;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult,
    ServerErrorKind, Value,
};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::connect::{ConnectOptions, QUEUE};

/// A connection that is made anew when it is lost: to a server, or to whichever server Sentinel says
/// is the master.
///
/// When the connection is lost, a reply does not come in time, or the server turns out to be a
/// replica, the call fails, and the next one connects again. Whatever went wrong while connecting is
/// gone with the next try: the driver's own connection manager would repeat some of those errors for
/// ever, such as a server's that has no room for another client.
///
/// # Clone
///
/// Clones share one connection.
#[derive(Clone)]
pub struct Reconnecting(Arc<Shared>);

struct Shared {
    connecting: Mutex<Connecting>,
    /// How many tries to connect there have been.
    tries: AtomicU64,
    current: RwLock<Option<Current>>,
    config: AsyncConnectionConfig,
    patience: Duration,
}

/// For one caller at a time.
struct Connecting {
    source: Source,
    /// Why the last try failed, if it did.
    failure: Option<RedisError>,
}

enum Source {
    Server(Box<Client>),
    #[cfg(feature = "sentinel")]
    Sentinel(Box<SentinelClient>),
}

/// A connection, and by which try it was made.
#[derive(Clone)]
struct Current {
    connection: MultiplexedConnection,
    number: u64,
}

impl Reconnecting {
    pub(crate) fn to_server(client: Client, options: &ConnectOptions) -> Self {
        Self::new(Source::Server(Box::new(client)), options)
    }

    #[cfg(feature = "sentinel")]
    pub(crate) fn to_master(sentinel: SentinelClient, options: &ConnectOptions) -> Self {
        Self::new(Source::Sentinel(Box::new(sentinel)), options)
    }

    fn new(source: Source, options: &ConnectOptions) -> Self {
        Self(Arc::new(Shared {
            connecting: Mutex::new(Connecting {
                source,
                failure: None,
            }),
            tries: AtomicU64::new(0),
            current: RwLock::default(),
            config: AsyncConnectionConfig::new()
                .set_connection_timeout(Some(options.connection_timeout))
                .set_response_timeout(Some(options.response_timeout))
                .set_pipeline_buffer_size(QUEUE),
            patience: options.connection_timeout,
        }))
    }

    /// Whom to connect to, as far as is known now.
    pub(crate) async fn client(&self) -> RedisResult<Client> {
        let mut connecting = self.0.connecting.lock().await;
        match &mut connecting.source {
            Source::Server(client) => Ok(Client::clone(client)),
            #[cfg(feature = "sentinel")]
            Source::Sentinel(sentinel) => {
                let client = timeout(self.0.patience, sentinel.async_get_client()).await;
                client.map_err(|_| too_late())?
            }
        }
    }

    /// The connection in use, or a new one. Callers that need a new one at the same time share a try,
    /// and its failure.
    async fn current(&self) -> RedisResult<Current> {
        if let Some(current) = self.known() {
            return Ok(current);
        }
        let before = self.0.tries.load(Ordering::SeqCst);
        let mut connecting = self.0.connecting.lock().await;
        if let Some(current) = self.known() {
            return Ok(current);
        }
        if self.0.tries.load(Ordering::SeqCst) > before
            && let Some(failure) = &connecting.failure
        {
            return Err(failure.clone());
        }
        let number = self.0.tries.fetch_add(1, Ordering::SeqCst) + 1;
        match self.connect(&mut connecting.source).await {
            Ok(connection) => {
                connecting.failure = None;
                let mut current = self
                    .0
                    .current
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                Ok(current.insert(Current { connection, number }).clone())
            }
            Err(failure) => {
                connecting.failure = Some(failure.clone());
                Err(failure)
            }
        }
    }

    async fn connect(&self, source: &mut Source) -> RedisResult<MultiplexedConnection> {
        let config = &self.0.config;
        let connecting = async {
            match source {
                Source::Server(client) => {
                    client
                        .get_multiplexed_async_connection_with_config(config)
                        .await
                }
                #[cfg(feature = "sentinel")]
                Source::Sentinel(sentinel) => {
                    sentinel.get_async_connection_with_config(config).await
                }
            }
        };
        timeout(self.0.patience, connecting)
            .await
            .map_err(|_| too_late())?
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

impl ConnectionLike for Reconnecting {
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

impl fmt::Debug for Reconnecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnecting")
            .field("tries", &self.0.tries.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

fn too_late() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}
