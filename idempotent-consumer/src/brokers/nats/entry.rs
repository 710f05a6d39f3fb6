use async_nats::header::{HeaderMap, HeaderName, HeaderValue, NATS_MESSAGE_ID};
use async_nats::jetstream::context::Context;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;

use super::{JetStream, NatsError};
use crate::disposition::{ID_HEADER, Reason};
use crate::message::{Message, MessageId};

/// The header of a dead letter that says which subject it was published to.
pub const SUBJECT_HEADER: &str = "idempotency-subject";
/// How the names of headers begin that tell the server what to do with a message.
const SERVERS: &str = "Nats-";

/// Where a message is in its stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position<'a> {
    pub(super) stream: &'a str,
    pub(super) sequence: u64,
}

/// The headers of a message that says what `message` says.
pub(super) fn headers(message: &Message) -> Result<HeaderMap, NatsError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &message.headers {
        append(&mut headers, name, value)?;
    }
    if let Some(MessageId::Producer(id)) = &message.id {
        append(&mut headers, NATS_MESSAGE_ID.as_ref(), id)?;
    }
    Ok(headers)
}

/// The headers of a dead letter: those of the message, and why it is one. What the message's own ask of the
/// server, they do not ask again: a copy must not purge a stream, nor depend on another one's state.
///
/// A message that is put aside, sent back and put aside again is another dead letter, and so is one of
/// another consumer: the id of the copy tells them apart.
pub(super) fn dead(
    message: &Message,
    reason: &Reason,
    consumer: &str,
    position: Position<'_>,
) -> Result<HeaderMap, NatsError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &message.headers {
        if !name.starts_with(SERVERS) {
            append(&mut headers, name, value)?;
        }
    }
    for (name, value) in reason.headers() {
        append(&mut headers, name, &value.replace(['\r', '\n'], " "))?;
    }
    append(&mut headers, SUBJECT_HEADER, &message.subject)?;
    let position = format!("{}/{}", position.stream, position.sequence);
    let id = message.id.as_ref().map_or(&*position, MessageId::as_str);
    append(&mut headers, ID_HEADER, id)?;
    let copy = format!("{id}:dlq:{consumer}:{position}");
    append(&mut headers, NATS_MESSAGE_ID.as_ref(), &copy)?;
    Ok(headers)
}

fn append(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), NatsError> {
    let parsed = (name.parse::<HeaderName>(), value.parse::<HeaderValue>());
    let (Ok(known), Ok(value)) = parsed else {
        return Err(NatsError::Header {
            name: name.to_owned(),
        });
    };
    headers.append(known, value);
    Ok(())
}

/// The message that was delivered from this position.
pub(super) fn read(delivered: async_nats::Message, position: Position<'_>) -> Message {
    let mut message = Message::new(delivered.payload).with_subject(&*delivered.subject);
    let given = delivered.headers.unwrap_or_default();
    message.id = Some(match given.get(NATS_MESSAGE_ID) {
        Some(id) => MessageId::Producer(id.as_str().to_owned()),
        None => MessageId::Broker(format!("{}/{}", position.stream, position.sequence)),
    });
    for (name, values) in given.iter().filter(|(name, _)| **name != NATS_MESSAGE_ID) {
        let name: &str = name.as_ref();
        let values = values.iter();
        let values = values.map(|value| (name.to_owned(), value.as_str().to_owned()));
        message.headers.extend(values);
    }
    // A stable sort: of one name, they stay in their order.
    message
        .headers
        .sort_by(|(one, _), (other, _)| one.cmp(other));
    message
}

impl JetStream {
    /// Publishes, and waits until a stream has it.
    pub(super) async fn store(
        &self,
        subject: String,
        headers: HeaderMap,
        message: &Message,
    ) -> Result<PublishAck, NatsError> {
        let publish = PublishMessage::build()
            .payload(message.body.clone())
            .headers(headers);
        let context: &Context = &self.context;
        Ok(context.send_publish(subject, publish).await?.await?)
    }

    pub(super) async fn first_subject(&self) -> Result<String, NatsError> {
        let stream = self.context.get_stream(&*self.stream).await?;
        let subjects = &stream.cached_info().config.subjects;
        Ok(subjects.first().cloned().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disposition::ReasonKind;

    const POSITION: Position<'_> = Position {
        stream: "orders",
        sequence: 7,
    };

    /// M41.
    #[test]
    fn a_dead_letter_asks_nothing_of_the_server_but_to_be_kept_once() {
        let message = Message::new("tea")
            .with_id(MessageId::Producer("order-1".into()))
            .with_header("tenant", "acme")
            .with_header("Nats-Rollup", "all");
        let mut reason = Reason::new(ReasonKind::Permanent);
        reason.error = Some("no stock\r\nat all".into());
        let headers = dead(&message, &reason, "billing", POSITION).unwrap();
        let value = |name: &str| headers.get(name).map(HeaderValue::as_str);
        assert_eq!(value("tenant"), Some("acme"));
        assert_eq!(value("Nats-Rollup"), None);
        assert_eq!(value("idempotency-error"), Some("no stock  at all"));
        assert_eq!(value(ID_HEADER), Some("order-1"));
        let copy = value("Nats-Msg-Id");
        assert_eq!(copy, Some("order-1:dlq:billing:orders/7"));
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_an_error() {
        for (name, value) in [("a:b", "c"), ("a", "b\nc")] {
            let message = Message::new("tea").with_header(name, value);
            let refused = headers(&message);
            assert!(matches!(refused, Err(NatsError::Header { .. })), "{name}");
        }
    }
}
