use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, cmd, pipe};
use tokio::sync::OwnedSemaphorePermit;

use super::{RedisStream, entry};
use crate::disposition::Reason;
use crate::message::Message;
use crate::settle::{Capabilities, Settle, SettleError};

/// Settles an entry of a stream.
#[derive(Debug)]
pub struct RedisSettle {
    pub(super) stream: RedisStream,
    pub(super) consumer: Arc<str>,
    pub(super) entry: String,
    pub(super) message: Message,
    /// The entry's place among those that the consumer may have.
    pub(super) _place: OwnedSemaphorePermit,
}

impl RedisSettle {
    fn acknowledge(&self) -> Cmd {
        let mut ack = cmd("XACK");
        ack.arg(&*self.stream.stream)
            .arg(&*self.stream.group)
            .arg(&self.entry);
        ack
    }

    /// Sets for how long the entry has been idle, without counting a delivery.
    async fn idle(&self, what: &'static str, idle: Duration) -> Result<(), SettleError> {
        let mut claim = cmd("XCLAIM");
        claim
            .arg(&*self.stream.stream)
            .arg(&*self.stream.group)
            .arg(&*self.consumer);
        claim
            .arg(0)
            .arg(&self.entry)
            .arg("IDLE")
            .arg(millis(idle))
            .arg("JUSTID");
        let claimed = self.stream.link.ask::<Vec<String>>(&claim).await;
        claimed
            .map(drop)
            .map_err(|error| SettleError::new(what, error))
    }
}

impl Settle for RedisSettle {
    fn capabilities(&self) -> Capabilities {
        capabilities(&self.stream)
    }

    fn attempts_hint(&self) -> Option<u32> {
        None
    }

    async fn ack(self) -> Result<(), SettleError> {
        let acked = self.stream.link.ask::<u32>(&self.acknowledge()).await;
        acked
            .map(drop)
            .map_err(|error| SettleError::new("ack", error))
    }

    async fn retry(self, _: Duration, _: bool) -> Result<(), SettleError> {
        self.idle("retry", self.stream.visibility).await
    }

    async fn dead_letter(self, reason: &Reason) -> Result<(), SettleError> {
        let mut add = cmd("XADD");
        add.arg(&*self.stream.dead_letters).arg("*");
        for (name, value) in entry::dead(&self.message, reason) {
            add.arg(name).arg(value);
        }
        let mut both = pipe();
        both.atomic()
            .add_command(add)
            .ignore()
            .add_command(self.acknowledge())
            .ignore();
        let moved = self.stream.link.ask_all(&both).await;
        moved.map_err(|error| SettleError::new("dead letter", error))
    }

    async fn extend(&self, _: Duration) -> Result<(), SettleError> {
        self.idle("extension", Duration::ZERO).await
    }
}

pub(super) fn capabilities(stream: &RedisStream) -> Capabilities {
    Capabilities {
        prefetch: Some(stream.prefetch),
        visibility: Some(stream.visibility),
        ..Capabilities::default()
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
