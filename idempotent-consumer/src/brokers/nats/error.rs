use async_nats::jetstream::context::{GetStreamError, PublishError};

/// Why a message was not published, or a consumer cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NatsError {
    /// The consumer would get its own dead letters.
    #[error(
        "dead letters in `{subject}` come back to the consumer: name another subject for them, or \
         one for the consumer that leaves them out"
    )]
    Circle {
        /// Where dead letters go.
        subject: String,
    },
    /// No stream keeps dead letters.
    #[error(
        "no stream keeps dead letters in `{subject}`: add the subject to a stream, or name another"
    )]
    DeadLetters {
        /// Where dead letters go.
        subject: String,
    },
    /// The consumer exists, and takes another subject.
    #[error("the consumer takes `{found}` and not `{wanted}`: change it, or use another one")]
    Filter {
        /// What it takes, where nothing is everything.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// A header that NATS cannot carry.
    #[error("the header `{name}` has a name or a value that cannot be sent")]
    Header {
        /// Its name.
        name: String,
    },
    /// The server has not said that the message is stored.
    #[error("the server did not confirm that the message is stored")]
    Publish(#[from] PublishError),
    /// The stream is not there, or the server cannot be reached.
    #[error("the stream cannot be used")]
    Stream(#[from] GetStreamError),
    /// There is more than one subject that the message could be published to, or none.
    #[error("`{subject}` is no subject to publish to: give the message one")]
    Subject {
        /// What there is.
        subject: String,
    },
}
