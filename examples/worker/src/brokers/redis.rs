//! Redis Streams.

use idempotency::BoxError;
use idempotency::consumer::Message;
use idempotency::consumer::brokers::redis::RedisStream;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamInfoGroupsReply, StreamPendingReply};
use redis::{AsyncCommands, Client};
use tokio::signal::ctrl_c;

use super::{Queue, VISIBILITY};
use crate::ledger::Ledger;
use crate::{consumer, worker};

const STREAM: &str = "worker";
const GROUP: &str = "ledger";
const DEAD_LETTERS: &str = "worker:dead";

pub(crate) struct Redis {
    client: Client,
    stream: RedisStream,
}

impl Redis {
    /// A new connection: one that was kept could be lost meanwhile.
    async fn open(&self) -> Result<MultiplexedConnection, BoxError> {
        Ok(self.client.get_multiplexed_async_connection().await?)
    }
}

impl Queue for Redis {
    async fn connect(url: &str) -> Result<Self, BoxError> {
        let client = Client::open(url)?;
        let stream = RedisStream::new(client.clone(), STREAM, GROUP);
        Ok(Self {
            client,
            stream: stream.dead_letters(DEAD_LETTERS).visibility(VISIBILITY),
        })
    }

    async fn prepare(&self) -> Result<(), BoxError> {
        let mut connection = self.open().await?;
        connection.del::<_, ()>(&[STREAM, DEAD_LETTERS]).await?;
        drop(self.stream.open().await?);
        Ok(())
    }

    async fn publish(&self, message: &Message) -> Result<(), BoxError> {
        self.stream.publish(message).await?;
        Ok(())
    }

    /// What was not delivered yet, and what was not acknowledged.
    async fn left(&self) -> Result<usize, BoxError> {
        let mut connection = self.open().await?;
        let groups: StreamInfoGroupsReply = connection.xinfo_groups(STREAM).await?;
        let lag = groups
            .groups
            .first()
            .and_then(|group| group.lag)
            .unwrap_or_default();
        let pending: StreamPendingReply = connection.xpending(STREAM, GROUP).await?;
        Ok(lag
            + match pending {
                StreamPendingReply::Data(data) => data.count,
                _ => 0,
            })
    }

    async fn dead(&self) -> Result<usize, BoxError> {
        Ok(self.open().await?.xlen(DEAD_LETTERS).await?)
    }

    async fn consume(&self, ledger: &Ledger) -> Result<(), BoxError> {
        let shutdown = async { _ = ctrl_c().await };
        let source = self.stream.open().await?;
        let worker = worker(&consumer(ledger)?, ledger);
        Ok(worker.run(source, shutdown).await?)
    }
}
