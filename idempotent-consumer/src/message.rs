//! What a broker hands over.

use std::fmt;

use bytes::Bytes;
use idempotent_core::{KeyPart, KeyText};

/// A message, as its handler sees it.
///
/// `Debug` prints neither the body nor the headers.
///
/// # Clone
///
/// The body is shared, the headers are copied.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Message {
    /// What makes two deliveries the same message; `None` if it came without.
    pub id: Option<MessageId>,
    /// What it says.
    pub body: Bytes,
    /// Its headers, in their order. Values that are not text are left out.
    pub headers: Vec<(String, String)>,
    /// Where it was published to: a routing key, a subject, a stream.
    pub subject: String,
}

/// The id of a message, and who has chosen it.
///
/// As a part of a key, it is its text alone.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there is nobody else")]
pub enum MessageId {
    /// The broker: a position in a stream, say. It tells redeliveries of one message, but a message
    /// that its producer sends twice has two of them.
    Broker(String),
    /// The producer, who sends the same id along when it sends the message again.
    Producer(String),
}

impl Message {
    /// A message without an id.
    #[must_use]
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            ..Self::default()
        }
    }

    /// The same with an id.
    #[must_use]
    pub fn with_id(mut self, id: MessageId) -> Self {
        self.id = Some(id);
        self
    }

    /// The same with one more header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same, published to `subject`.
    #[must_use]
    pub fn with_subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }

    /// The first header of this name, whose letter case does not count.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("subject", &self.subject)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl MessageId {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Broker(text) | Self::Producer(text) => text,
        }
    }

    /// Whether a message that was sent again would have the same.
    #[must_use]
    pub const fn is_producers(&self) -> bool {
        matches!(self, Self::Producer(_))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl KeyPart for MessageId {
    fn write_part(&self, text: &mut KeyText) {
        self.as_str().write_part(text);
    }
}
