use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::RabbitError;
use crate::disposition::Reason;
use crate::message::{Message, MessageId};

/// A delivery mode: the server keeps the message over a restart, in a durable queue.
const PERSISTENT: u8 = 2;
/// By which a quorum queue tells how often it has delivered the message, or how often that has failed.
const DELIVERY_COUNT: &str = "x-delivery-count";
/// By which RabbitMQ from 4.3 on tells how often it has delivered the message, failed or not.
const ACQUIRED_COUNT: &str = "x-acquired-count";

/// The properties of a message that is published.
pub(super) fn properties(message: &Message) -> Result<BasicProperties, RabbitError> {
    let mut headers = FieldTable::default();
    for (name, value) in &message.headers {
        headers.insert(short(name)?, AMQPValue::LongString(value.clone().into()));
    }
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_headers(headers);
    if let Some(MessageId::Producer(id)) = &message.id {
        properties = properties.with_message_id(short(id)?);
    }
    Ok(properties)
}

/// The properties of a dead letter: all that the message had, and why it is one.
pub(super) fn dead(
    properties: BasicProperties,
    reason: &Reason,
) -> Result<BasicProperties, RabbitError> {
    let mut headers = properties.headers().clone().unwrap_or_default();
    for (name, value) in reason.headers() {
        headers.insert(short(name)?, AMQPValue::LongString(value.into()));
    }
    Ok(properties
        .with_headers(headers)
        .with_delivery_mode(PERSISTENT))
}

/// The message of a delivery, without its body.
pub(super) fn read(delivery: &Delivery) -> Message {
    let mut message = Message::new(Vec::new()).with_subject(delivery.routing_key.as_str());
    let id = delivery.properties.message_id().as_ref();
    message.id = id.map(|id| MessageId::Producer(id.as_str().to_owned()));
    for (name, value) in headers(&delivery.properties) {
        let text = match value {
            AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
            AMQPValue::ShortString(text) => Some(text.as_str()),
            _ => None,
        };
        if let Some(text) = text {
            let header = (name.as_str().to_owned(), text.to_owned());
            message.headers.push(header);
        }
    }
    message
}

/// What a quorum queue has counted.
pub(super) fn count(properties: &BasicProperties) -> Option<u32> {
    let (_, count) = headers(properties).find(|(name, _)| name.as_str() == DELIVERY_COUNT)?;
    match *count {
        AMQPValue::LongInt(count) => count.try_into().ok(),
        AMQPValue::LongLongInt(count) => count.try_into().ok(),
        AMQPValue::LongUInt(count) => Some(count),
        AMQPValue::ShortInt(count) => count.try_into().ok(),
        AMQPValue::ShortShortInt(count) => count.try_into().ok(),
        AMQPValue::ShortShortUInt(count) => Some(count.into()),
        AMQPValue::ShortUInt(count) => Some(count.into()),
        _ => None,
    }
}

/// Whether the message tells that its queue counts failures only.
pub(super) fn counts_failures_only(properties: &BasicProperties) -> bool {
    headers(properties).any(|(name, _)| name.as_str() == ACQUIRED_COUNT)
}

fn headers(properties: &BasicProperties) -> impl Iterator<Item = (&ShortString, &AMQPValue)> {
    let headers = properties.headers().as_ref();
    headers.into_iter().flat_map(|table| table.inner().iter())
}

pub(super) fn short(text: &str) -> Result<ShortString, RabbitError> {
    ShortString::try_new(text).map_err(|_| RabbitError::Long { name: text.into() })
}
