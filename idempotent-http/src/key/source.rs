use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use super::{InvalidKey, KeyRules, parse};

/// Where the key stands in a request.
#[derive(Clone)]
pub struct KeySource(Place);

#[derive(Clone)]
enum Place {
    Header(HeaderName),
    JsonPointer(String),
    Of(Arc<ReadKey>),
    Query(String),
}

type ReadKey = dyn Fn(&Parts) -> Result<Option<String>, InvalidKey> + Send + Sync;

/// What the head of a request says of its key.
pub(crate) enum Found {
    Absent,
    /// Only the body can say.
    InBody,
    Key(String),
}

impl KeySource {
    /// A header's value: `Idempotency-Key`, if nothing else is chosen.
    #[must_use]
    pub const fn header(name: HeaderName) -> Self {
        Self(Place::Header(name))
    }

    /// A string in a JSON body, as Square (`/idempotency_key`) and AIP-155 (`/requestId`) have it, and
    /// as an event's id (`/id`) is in a webhook. `pointer` is of RFC 6901.
    #[must_use]
    pub fn json_pointer(pointer: impl Into<String>) -> Self {
        Self(Place::JsonPointer(pointer.into()))
    }

    /// A parameter of the query.
    #[must_use]
    pub fn query(name: impl Into<String>) -> Self {
        Self(Place::Query(name.into()))
    }

    /// Whatever `read` finds in the head of a request.
    #[must_use]
    pub fn of(
        read: impl Fn(&Parts) -> Result<Option<String>, InvalidKey> + Send + Sync + 'static,
    ) -> Self {
        Self(Place::Of(Arc::new(read)))
    }

    /// The header that has the key, if one has.
    pub(crate) const fn header_name(&self) -> Option<&HeaderName> {
        match &self.0 {
            Place::Header(name) => Some(name),
            Place::JsonPointer(_) | Place::Of(_) | Place::Query(_) => None,
        }
    }

    /// What to tell a caller who has sent none.
    pub(crate) fn describe(&self) -> String {
        match &self.0 {
            Place::Header(name) => {
                let name = if name == crate::IDEMPOTENCY_KEY {
                    "Idempotency-Key"
                } else {
                    name.as_str()
                };
                format!("the header `{name}`")
            }
            Place::JsonPointer(pointer) => format!("the member `{pointer}` of the JSON body"),
            Place::Of(_) => "the key".to_owned(),
            Place::Query(name) => format!("the parameter `{name}` of the query"),
        }
    }

    pub(crate) fn find(&self, parts: &Parts, rules: &KeyRules) -> Result<Found, InvalidKey> {
        let key = match &self.0 {
            Place::Header(name) => in_header(&parts.headers, name, rules)?,
            Place::JsonPointer(_) => return Ok(Found::InBody),
            Place::Of(read) => read(parts)?,
            Place::Query(name) => in_query(parts.uri.query().unwrap_or_default(), name)?,
        };
        let Some(key) = key else {
            return Ok(Found::Absent);
        };
        rules.check(&key)?;
        Ok(Found::Key(key))
    }

    pub(crate) fn find_in_body(&self, body: &Bytes, rules: &KeyRules) -> Result<Found, InvalidKey> {
        let Place::JsonPointer(pointer) = &self.0 else {
            return Ok(Found::Absent);
        };
        // A body that is no JSON has no key. Whether it should be JSON is the handler's business.
        let Ok(body) = serde_json::from_slice::<serde_json::Value>(body) else {
            return Ok(Found::Absent);
        };
        match body.pointer(pointer) {
            None | Some(serde_json::Value::Null) => Ok(Found::Absent),
            Some(serde_json::Value::String(key)) => {
                rules.check(key)?;
                Ok(Found::Key(key.clone()))
            }
            Some(_) => Err(InvalidKey::NotAString),
        }
    }
}

fn in_header(
    headers: &HeaderMap,
    name: &HeaderName,
    rules: &KeyRules,
) -> Result<Option<String>, InvalidKey> {
    parse(headers.get_all(name), rules.syntax)
}

fn in_query(query: &str, name: &str) -> Result<Option<String>, InvalidKey> {
    let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(found, _)| found == name);
    let key = values.next().map(|(_, value)| value.into_owned());
    match values.next() {
        Some(_) => Err(InvalidKey::Repeated),
        None => Ok(key),
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeySource").field(&self.describe()).finish()
    }
}
