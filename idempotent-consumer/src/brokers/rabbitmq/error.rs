/// Why a message was not published, or a queue cannot be consumed from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RabbitError {
    /// The server refuses, or cannot be reached.
    #[error("the server refuses, or cannot be reached")]
    Amqp(#[from] lapin::Error),
    /// A name, a header's name or an id that is longer than AMQP allows.
    #[error("`{name}` is longer than the 255 bytes that AMQP allows")]
    Long {
        /// The name, header's name or id.
        name: String,
    },
    /// The server has not taken the message.
    #[error("the server did not take the message; it may be full")]
    NotTaken,
    /// No queue is bound to where the message was published to.
    #[error("the exchange `{exchange}` routes `{routing_key}` to no queue: bind one")]
    NoQueue {
        /// The exchange.
        exchange: String,
        /// The routing key.
        routing_key: String,
    },
    /// The channel of the delivery has been closed; the server delivers the message again.
    #[error("the channel of the delivery is closed")]
    Closed,
    /// The server did not answer.
    #[error("the server did not answer in time")]
    Timeout,
}
