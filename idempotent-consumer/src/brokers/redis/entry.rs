use redis::Value;
use redis::streams::StreamId;

use crate::disposition::{ID_HEADER, Reason};
use crate::message::{Message, MessageId};

const BODY: &str = "body";
const ID: &str = "id";

/// The fields of an entry that says what `message` says.
pub(super) fn fields(message: &Message) -> Vec<(&str, &[u8])> {
    let mut fields = vec![(BODY, &*message.body)];
    if let Some(MessageId::Producer(id)) = &message.id {
        fields.push((ID, id.as_bytes()));
    }
    let headers = message.headers.iter();
    fields.extend(headers.map(|(name, value)| (name.as_str(), value.as_bytes())));
    fields
}

/// The fields of a dead letter: what the message says, and why it is one.
pub(super) fn dead(message: &Message, reason: &Reason) -> Vec<(String, Vec<u8>)> {
    let fields = fields(message).into_iter();
    let mut fields: Vec<_> = fields
        .map(|(name, value)| (name.to_owned(), value.to_vec()))
        .collect();
    for (name, value) in reason.headers() {
        fields.push((name.to_owned(), value.into_bytes()));
    }
    if let Some(MessageId::Broker(id)) = &message.id {
        fields.push((ID_HEADER.to_owned(), id.clone().into_bytes()));
    }
    fields
}

/// The message of an entry of `stream`.
pub(super) fn read(stream: &str, entry: StreamId) -> Message {
    let mut message = Message::new(Vec::new()).with_subject(stream);
    let position = format!("{stream}/{}", entry.id);
    message.id = Some(MessageId::Broker(position));
    let mut map: Vec<_> = entry.map.into_iter().collect();
    map.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    for (name, value) in map {
        let Value::BulkString(bytes) = value else {
            continue;
        };
        match name.as_str() {
            BODY => message.body = bytes.into(),
            ID => {
                let id = String::from_utf8_lossy(&bytes).into_owned();
                message.id = Some(MessageId::Producer(id));
            }
            _ => message
                .headers
                .extend(String::from_utf8(bytes).ok().map(|value| (name, value))),
        }
    }
    message
}
