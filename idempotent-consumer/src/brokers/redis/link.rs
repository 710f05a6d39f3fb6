use std::fmt;

use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, FromRedisValue, RedisError};
use tokio::sync::Mutex;

/// A connection that is made anew when it is lost.
pub(super) struct Link {
    client: Client,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl Link {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            connection: Mutex::default(),
        }
    }

    /// Another connection to the same server: for commands that wait, and would hold up the others.
    pub(super) fn another(&self) -> Self {
        Self::new(self.client.clone())
    }

    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let mut connection = self.connected().await?;
        let answer = command.query_async(&mut connection).await;
        self.check(answer).await
    }

    /// Runs these commands, all of them or none.
    pub(super) async fn ask_all(&self, commands: &redis::Pipeline) -> Result<(), RedisError> {
        let mut connection = self.connected().await?;
        let answer = commands.query_async::<()>(&mut connection).await;
        self.check(answer).await
    }

    async fn connected(&self) -> Result<MultiplexedConnection, RedisError> {
        let mut connection = self.connection.lock().await;
        if let Some(connection) = &*connection {
            return Ok(connection.clone());
        }
        // The longest wait of a command is the server's own, which is longer than the usual timeout.
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(std::time::Duration::from_secs(2)))
            .set_response_timeout(Some(std::time::Duration::from_secs(10)));
        let new = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        *connection = Some(new.clone());
        Ok(new)
    }

    async fn check<T>(&self, answer: Result<T, RedisError>) -> Result<T, RedisError> {
        if let Err(error) = &answer
            && error.code().is_none()
        {
            // Not the server's word, so it is the connection's.
            *self.connection.lock().await = None;
        }
        answer
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}
