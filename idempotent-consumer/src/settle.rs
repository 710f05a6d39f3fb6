//! What a consumer needs of a broker for one delivery.

use std::future::Future;
use std::time::Duration;

use idempotent_core::BoxError;

use crate::disposition::Reason;
use crate::message::Message;

/// One hand-over of a message, which has to be settled once.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Delivery<S> {
    /// What was delivered.
    pub message: Message,
    /// What tells the broker how it went.
    pub settle: S,
}

impl<S: Settle> Delivery<S> {
    /// A delivery of `message`.
    pub const fn new(message: Message, settle: S) -> Self {
        Self { message, settle }
    }
}

/// What tells a broker what becomes of one delivery.
///
/// # Contract
///
/// - Each of [`ack`](Self::ack), [`retry`](Self::retry) and [`dead_letter`](Self::dead_letter) settles
///   the delivery, and is asked once at most. An error is reported and nothing else is done: a
///   second settlement closes the channel of some brokers, and a delivery that is not settled comes
///   again.
/// - [`dead_letter`](Self::dead_letter) never loses the message: if the broker does not keep it, publish
///   the copy and wait for the broker's word before the delivery is acknowledged.
/// - None of them is asked before the record is durable.
///
/// # Examples
///
/// Brokers with a visibility timeout, such as Amazon SQS, have no negative acknowledgement: a retry is
/// the same timeout, set anew. The client is whatever your SDK has.
///
/// ```
/// use std::time::Duration;
///
/// use idempotent_consumer::{Capabilities, Reason, Settle, SettleError};
/// # #[derive(Clone)]
/// # struct Client;
/// # impl Client {
/// #     async fn delete_message(&self, _: &str) -> Result<(), std::io::Error> { Ok(()) }
/// #     async fn change_message_visibility(&self, _: &str, _: u64) -> Result<(), std::io::Error> { Ok(()) }
/// #     async fn send_message(&self, _: &str, _: &str, _: &str) -> Result<(), std::io::Error> { Ok(()) }
/// # }
///
/// struct SqsDelivery {
///     client: Client,
///     receipt: String,
///     body: String,
///     /// `ApproximateReceiveCount`.
///     received: u32,
/// }
///
/// const VISIBILITY: Duration = Duration::from_secs(60);
/// const LONGEST: Duration = Duration::from_secs(12 * 60 * 60);
///
/// impl Settle for SqsDelivery {
///     fn capabilities(&self) -> Capabilities {
///         Capabilities {
///             delays_retries: true,
///             prefetch: Some(10),
///             visibility: Some(VISIBILITY),
///             ..Capabilities::default()
///         }
///     }
///
///     fn attempts_hint(&self) -> Option<u32> {
///         self.received.checked_sub(1)
///     }
///
///     async fn ack(self) -> Result<(), SettleError> {
///         let deleted = self.client.delete_message(&self.receipt).await;
///         deleted.map_err(|error| SettleError::new("ack", error))
///     }
///
///     async fn retry(self, after: Duration, _counted: bool) -> Result<(), SettleError> {
///         // In a FIFO queue this holds up the rest of the message's group.
///         let seconds = after.min(LONGEST).as_secs();
///         let changed = self.client.change_message_visibility(&self.receipt, seconds).await;
///         changed.map_err(|error| SettleError::new("retry", error))
///     }
///
///     async fn dead_letter(self, reason: &Reason) -> Result<(), SettleError> {
///         let sent = self.client.send_message("orders-dlq", &self.body, reason.kind.name()).await;
///         sent.map_err(|error| SettleError::new("dead-letter", error))?;
///         self.ack().await
///     }
///
///     async fn extend(&self, by: Duration) -> Result<(), SettleError> {
///         let seconds = by.as_secs();
///         let changed = self.client.change_message_visibility(&self.receipt, seconds).await;
///         changed.map_err(|error| SettleError::new("extend", error))
///     }
/// }
/// ```
pub trait Settle: Send + Sync + 'static {
    /// What the broker can do, as far as this delivery tells.
    fn capabilities(&self) -> Capabilities;

    /// How often the message was delivered before, or how often it failed if the broker
    /// [counts failures only](Capabilities::counts_failures_only). `None` if the broker does not say.
    fn attempts_hint(&self) -> Option<u32>;

    /// The message has taken effect, and need not come again.
    ///
    /// # Errors
    ///
    /// [`SettleError`]: the message may come again, and is a duplicate then.
    fn ack(self) -> impl Future<Output = Result<(), SettleError>> + Send;

    /// The message is to come again, no sooner than `after` if the broker
    /// [delays](Capabilities::delays_retries). `counted` if its handler has failed.
    ///
    /// # Errors
    ///
    /// [`SettleError`]: the message comes again when the broker notices that it was not settled.
    fn retry(
        self,
        after: Duration,
        counted: bool,
    ) -> impl Future<Output = Result<(), SettleError>> + Send;

    /// The message is to be put aside, for somebody to look at.
    ///
    /// # Errors
    ///
    /// [`SettleError`]: the message comes again.
    fn dead_letter(self, reason: &Reason) -> impl Future<Output = Result<(), SettleError>> + Send;

    /// The message is still being handled: the broker is to wait for so much longer.
    ///
    /// # Errors
    ///
    /// [`SettleError`]: the handler goes on, for the record protects it.
    fn extend(&self, by: Duration) -> impl Future<Output = Result<(), SettleError>> + Send;
}

/// What a broker can do, and what it counts. The default is a broker that can do nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Capabilities {
    /// How long a delivery may stay unsettled, whatever is done about it.
    pub consumer_timeout: Option<Duration>,
    /// [`Settle::attempts_hint`] is a count of failures, and not of deliveries.
    pub counts_failures_only: bool,
    /// Every retry counts towards a limit of the broker's, at which it gives the message up.
    pub counts_every_retry: bool,
    /// The broker can wait before it delivers a message again. Else the delivery is held meanwhile.
    pub delays_retries: bool,
    /// How long the broker keeps a message.
    pub max_age: Option<Duration>,
    /// After how many deliveries the broker gives a message up.
    pub max_deliver: Option<u32>,
    /// How many deliveries may be unsettled at once.
    pub prefetch: Option<usize>,
    /// How long a delivery may stay unsettled without being [extended](Settle::extend).
    pub visibility: Option<Duration>,
}

/// The broker was not told what became of a delivery, or nobody knows whether it was.
#[derive(Debug, thiserror::Error)]
#[error("the broker did not confirm the {what}; it delivers the message again")]
pub struct SettleError {
    what: &'static str,
    source: BoxError,
}

impl SettleError {
    /// What was asked, as in `ack`, and why it failed.
    pub fn new(what: &'static str, source: impl Into<BoxError>) -> Self {
        Self {
            what,
            source: source.into(),
        }
    }
}
