use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::message::Acker;
use idempotent_core::BoxError;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::JetStream;
use super::entry::{Position, dead};
use crate::disposition::Reason;
use crate::message::Message;
use crate::settle::{Capabilities, Settle, SettleError};

/// How long a server may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Settles a message of a stream.
pub struct NatsSettle {
    pub(super) broker: Arc<JetStream>,
    pub(super) capabilities: Capabilities,
    pub(super) acker: Acker,
    pub(super) message: Message,
    pub(super) sequence: u64,
    /// How often it was delivered, this time included.
    pub(super) delivered: i64,
    /// The message's place among those that the source may have.
    pub(super) _place: OwnedSemaphorePermit,
}

impl NatsSettle {
    async fn tell(&self, what: &'static str, kind: AckKind) -> Result<(), SettleError> {
        let acker = &self.acker;
        if self.broker.double_ack {
            answered(what, acker.double_ack_with(kind)).await
        } else {
            answered(what, acker.ack_with(kind)).await
        }
    }
}

async fn answered<T, E: Into<BoxError>>(
    what: &'static str,
    asked: impl Future<Output = Result<T, E>> + Send,
) -> Result<(), SettleError> {
    match timeout(ANSWER, asked).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(SettleError::new(what, error)),
        Err(late) => Err(SettleError::new(what, late)),
    }
}

impl Settle for NatsSettle {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn attempts_hint(&self) -> Option<u32> {
        u32::try_from(self.delivered).ok()?.checked_sub(1)
    }

    async fn ack(self) -> Result<(), SettleError> {
        self.tell("ack", AckKind::Ack).await
    }

    async fn retry(self, after: Duration, _: bool) -> Result<(), SettleError> {
        self.tell("retry", AckKind::Nak(Some(after))).await
    }

    async fn dead_letter(self, reason: &Reason) -> Result<(), SettleError> {
        let broker = &self.broker;
        let position = Position {
            stream: &broker.stream,
            sequence: self.sequence,
        };
        let headers = dead(&self.message, reason, &broker.consumer, position)
            .map_err(|error| SettleError::new("dead letter", error))?;
        let subject = broker.dead_letters.to_string();
        let stored = broker.store(subject, headers, &self.message);
        answered("dead letter", stored).await?;
        self.tell("dead letter", AckKind::Term).await
    }

    /// The server waits for the consumer's `ack_wait` again.
    async fn extend(&self, _: Duration) -> Result<(), SettleError> {
        answered("extension", self.acker.ack_with(AckKind::Progress)).await
    }
}

impl fmt::Debug for NatsSettle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsSettle")
            .field("broker", &self.broker)
            .field("message", &self.message)
            .field("sequence", &self.sequence)
            .field("delivered", &self.delivered)
            .finish_non_exhaustive()
    }
}
