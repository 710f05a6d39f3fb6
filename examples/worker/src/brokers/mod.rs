//! The brokers that processes can share.

#[cfg(feature = "nats")]
pub(crate) mod nats;
#[cfg(feature = "rabbitmq")]
pub(crate) mod rabbitmq;
#[cfg(feature = "redis")]
pub(crate) mod redis;

use std::future::Future;
use std::time::Duration;

use idempotency::BoxError;
use idempotency::consumer::Message;

use crate::ledger::Ledger;

/// How long a message stays with a consumer that is dead, where the broker does not see that it is.
#[cfg(any(feature = "nats", feature = "redis"))]
const VISIBILITY: Duration = Duration::from_secs(2);

/// A queue, and another one for dead letters.
pub(crate) trait Queue: Sized + Send + Sync {
    /// For how long the broker itself drops a second copy of a message, if it does.
    const WINDOW: Option<Duration> = None;

    fn connect(url: &str) -> impl Future<Output = Result<Self, BoxError>> + Send;

    /// Deletes both queues, and creates them.
    fn prepare(&self) -> impl Future<Output = Result<(), BoxError>> + Send;

    fn publish(&self, message: &Message) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// How many messages are not settled, as far as the broker says so while there are consumers.
    fn left(&self) -> impl Future<Output = Result<usize, BoxError>> + Send;

    /// How many messages are not settled, when all consumers are dead.
    fn left_behind(&self) -> impl Future<Output = Result<usize, BoxError>> + Send {
        self.left()
    }

    fn dead(&self) -> impl Future<Output = Result<usize, BoxError>> + Send;

    /// Is one of the consumers.
    fn consume(&self, ledger: &Ledger) -> impl Future<Output = Result<(), BoxError>> + Send;
}
