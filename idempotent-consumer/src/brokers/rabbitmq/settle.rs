use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lapin::Acker;
use lapin::BasicProperties;
use lapin::options::{BasicAckOptions, BasicNackOptions, BasicRejectOptions};

use super::session::{Session, in_time};
use super::{DeadLetters, RabbitError, RabbitQueue, entry};
use crate::disposition::Reason;
use crate::message::Message;
use crate::settle::{Capabilities, Settle, SettleError};

/// Settles a delivery of a queue.
pub struct RabbitSettle {
    pub(super) queue: RabbitQueue,
    pub(super) session: Arc<Session>,
    pub(super) acker: Acker,
    pub(super) message: Message,
    pub(super) properties: BasicProperties,
}

impl RabbitSettle {
    async fn acknowledge(&self) -> Result<(), RabbitError> {
        let alone = BasicAckOptions { multiple: false };
        heard(self.acker.ack(alone)).await
    }

    async fn reject(&self, requeue: bool) -> Result<(), RabbitError> {
        heard(self.acker.reject(BasicRejectOptions { requeue })).await
    }

    async fn give_back(&self) -> Result<(), RabbitError> {
        let alone = BasicNackOptions {
            multiple: false,
            requeue: true,
        };
        heard(self.acker.nack(alone)).await
    }

    async fn put_aside(&self, reason: &Reason) -> Result<(), RabbitError> {
        let Some(DeadLetters::Publish {
            exchange,
            routing_key,
        }) = &self.queue.dead_letters
        else {
            return self.reject(false).await;
        };
        let properties = entry::dead(self.properties.clone(), reason)?;
        let body = &self.message.body;
        let published = self
            .session
            .publish(exchange, routing_key, body, properties);
        Box::pin(published).await?;
        self.acknowledge().await
    }
}

impl Settle for RabbitSettle {
    fn capabilities(&self) -> Capabilities {
        let failures_only = entry::counts_failures_only(&self.properties);
        let queue = self.queue.clone();
        let failures_only = failures_only || queue.counts_failures_only;
        queue.counts_failures_only(failures_only).capabilities()
    }

    fn attempts_hint(&self) -> Option<u32> {
        entry::count(&self.properties)
    }

    async fn ack(self) -> Result<(), SettleError> {
        let acked = self.acknowledge().await;
        acked.map_err(|error| SettleError::new("ack", error))
    }

    async fn retry(self, _: Duration, counted: bool) -> Result<(), SettleError> {
        let retried = if counted {
            self.reject(true).await
        } else {
            self.give_back().await
        };
        retried.map_err(|error| SettleError::new("retry", error))
    }

    async fn dead_letter(self, reason: &Reason) -> Result<(), SettleError> {
        let moved = self.put_aside(reason).await;
        moved.map_err(|error| SettleError::new("dead letter", error))
    }

    /// Does nothing: a delivery stays for as long as its channel.
    async fn extend(&self, _: Duration) -> Result<(), SettleError> {
        Ok(())
    }
}

/// Whether the server could be told. It says nothing in return.
async fn heard(telling: impl Future<Output = lapin::Result<bool>>) -> Result<(), RabbitError> {
    in_time(async {
        if telling.await? {
            Ok(())
        } else {
            Err(RabbitError::Closed)
        }
    })
    .await
}

impl fmt::Debug for RabbitSettle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitSettle")
            .field("queue", &self.queue)
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}
