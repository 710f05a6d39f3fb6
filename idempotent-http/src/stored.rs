//! What is kept of a response, and what comes back of it.

use std::collections::HashSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::body::Buffered;

/// The recorded answer to a request. The names carry the version of the format.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) enum Stored {
    #[serde(rename = "response/1")]
    Response(StoredResponse),
    /// The request was answered, and must not run again; but the answer was not kept.
    #[serde(rename = "unavailable/1")]
    Unavailable {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        location: Option<Octets>,
    },
}

/// A response whose every byte was kept, but for the headers that belong to one exchange.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct StoredResponse {
    status: u16,
    attempt: u32,
    headers: Vec<(String, Octets)>,
    body: Octets,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    trailers: Vec<(String, Octets)>,
}

/// Bytes that are kept as text where they are text, so that an operator can read them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Octets(Bytes);

impl StoredResponse {
    pub(crate) fn new(
        parts: &http::response::Parts,
        body: &Buffered,
        attempt: u32,
        headers: &KeptHeaders,
    ) -> Self {
        Self {
            status: parts.status.as_u16(),
            attempt,
            headers: headers.of(&parts.headers),
            body: Octets(body.data.clone()),
            trailers: body.trailers.as_ref().map(list).unwrap_or_default(),
        }
    }

    /// The response again, or `None` if what was kept is none.
    pub(crate) fn into_response(self) -> Option<Response<Buffered>> {
        let trailers = (!self.trailers.is_empty()).then(|| map(self.trailers));
        let mut response = Response::new(Buffered {
            data: self.body.0,
            trailers: match trailers {
                Some(trailers) => Some(trailers?),
                None => None,
            },
        });
        *response.status_mut() = StatusCode::from_u16(self.status).ok()?;
        *response.headers_mut() = map(self.headers)?;
        Some(response)
    }
}

impl Stored {
    pub(crate) fn unavailable(headers: &HeaderMap) -> Self {
        let location = headers.get(header::LOCATION);
        Self::Unavailable {
            location: location.map(Octets::of),
        }
    }
}

fn list(headers: &HeaderMap) -> Vec<(String, Octets)> {
    let pair = |(name, value): (&HeaderName, &HeaderValue)| (name.to_string(), Octets::of(value));
    headers.iter().map(pair).collect()
}

fn map(list: Vec<(String, Octets)>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(list.len());
    for (name, value) in list {
        headers.append(
            HeaderName::try_from(name).ok()?,
            HeaderValue::from_maybe_shared(value.0).ok()?,
        );
    }
    Some(headers)
}

/// Which headers of a response are kept.
#[derive(Clone, Debug)]
pub(crate) struct KeptHeaders {
    dropped: HashSet<HeaderName>,
}

impl Default for KeptHeaders {
    /// All but those that belong to one connection (RFC 9110, section 7.6.1), one message, or one
    /// caller's session.
    fn default() -> Self {
        let dropped = [
            header::AGE,
            HeaderName::from_static("authentication-info"),
            header::CONNECTION,
            header::CONTENT_LENGTH,
            header::DATE,
            HeaderName::from_static("keep-alive"),
            header::PROXY_AUTHENTICATE,
            HeaderName::from_static("proxy-connection"),
            HeaderName::from_static("server-timing"),
            header::SET_COOKIE,
            header::TE,
            HeaderName::from_static("traceparent"),
            HeaderName::from_static("tracestate"),
            header::TRAILER,
            header::TRANSFER_ENCODING,
            header::UPGRADE,
            header::WWW_AUTHENTICATE,
            HeaderName::from_static("x-request-id"),
        ];
        Self {
            dropped: dropped.into(),
        }
    }
}

impl KeptHeaders {
    pub(crate) fn keep(&mut self, name: &HeaderName) {
        self.dropped.remove(name);
    }

    pub(crate) fn drop(&mut self, name: HeaderName) {
        self.dropped.insert(name);
    }

    fn of(&self, headers: &HeaderMap) -> Vec<(String, Octets)> {
        let named: HashSet<String> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|name| name.trim().to_ascii_lowercase())
            .collect();
        headers
            .iter()
            .filter(|(name, _)| !self.dropped.contains(*name) && !named.contains(name.as_str()))
            .map(|(name, value)| (name.to_string(), Octets::of(value)))
            .collect()
    }
}

impl Octets {
    fn of(value: &HeaderValue) -> Self {
        Self(Bytes::copy_from_slice(value.as_bytes()))
    }

    pub(crate) fn to_header(&self) -> Option<HeaderValue> {
        HeaderValue::from_maybe_shared(self.0.clone()).ok()
    }

    /// The bytes as text, if JSON writes them in no more room than base64 would.
    fn as_text(&self) -> Option<&str> {
        let text = str::from_utf8(&self.0).ok()?;
        let escapes: usize = text
            .bytes()
            .map(|byte| match byte {
                b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 1,
                0..=0x1f => 5,
                _ => 0,
            })
            .sum();
        (escapes <= text.len() / 3).then_some(text)
    }
}

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(text) = self.as_text() {
            return serializer.serialize_str(text);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("base64", &STANDARD.encode(&self.0))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrBase64;

        impl<'de> Visitor<'de> for TextOrBase64 {
            type Value = Octets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or a map with `base64`")
            }

            fn visit_str<E>(self, text: &str) -> Result<Octets, E> {
                Ok(Octets(Bytes::copy_from_slice(text.as_bytes())))
            }

            fn visit_string<E>(self, text: String) -> Result<Octets, E> {
                Ok(Octets(text.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Octets, A::Error> {
                let Some((name, text)) = map.next_entry::<String, String>()? else {
                    return Err(A::Error::missing_field("base64"));
                };
                if name != "base64" {
                    return Err(A::Error::unknown_field(&name, &["base64"]));
                }
                let bytes = STANDARD.decode(text).map_err(A::Error::custom)?;
                Ok(Octets(bytes.into()))
            }
        }

        deserializer.deserialize_any(TextOrBase64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stored(response: Response<&[u8]>) -> StoredResponse {
        let (parts, body) = response.into_parts();
        let body = Buffered {
            data: Bytes::copy_from_slice(body),
            trailers: None,
        };
        StoredResponse::new(&parts, &body, 1, &KeptHeaders::default())
    }

    fn through_json(stored: StoredResponse) -> StoredResponse {
        let json = serde_json::to_vec(&Stored::Response(stored)).unwrap();
        match serde_json::from_slice(&json).unwrap() {
            Stored::Response(stored) => stored,
            Stored::Unavailable { .. } => panic!("it is a response"),
        }
    }

    proptest! {
        /// H-40: every byte comes back, in bodies and in headers.
        #[test]
        fn bytes_come_back_as_they_were(
            body in proptest::collection::vec(any::<u8>(), 0..200),
            value in proptest::collection::vec(0x20_u8..=0xff, 0..20),
        ) {
            prop_assume!(!value.contains(&0x7f));
            let response = Response::builder()
                .header("x-a", HeaderValue::from_bytes(&value).unwrap())
                .body(&body[..])
                .unwrap();
            let again = through_json(stored(response)).into_response().unwrap();
            prop_assert_eq!(again.headers()["x-a"].as_bytes(), &value[..]);
            prop_assert_eq!(&again.body().data[..], &body[..]);
        }

        /// So that a response within its limit is within the record's, too.
        #[test]
        fn a_body_takes_at_most_four_thirds_of_its_size(
            body in proptest::collection::vec(any::<u8>(), 0..300),
            text in "[\"\\\\\n\u{1}a]{0,300}",
        ) {
            for body in [Bytes::from(body), Bytes::from(text)] {
                let size = body.len();
                let json = serde_json::to_vec(&Octets(body)).unwrap();
                prop_assert!(json.len() <= size * 4 / 3 + 20, "{} of {size}", json.len());
            }
        }
    }

    #[test]
    fn a_json_body_can_be_read_in_the_store() {
        let response = Response::builder()
            .status(201)
            .header("content-type", "application/json")
            .body(&br#"{"id":1}"#[..])
            .unwrap();
        let json = serde_json::to_string(&Stored::Response(stored(response))).unwrap();
        assert_eq!(
            json,
            r#"{"response/1":{"status":201,"attempt":1,"headers":[["content-type","application/json"]],"body":"{\"id\":1}"}}"#
        );
    }

    /// H-41.
    #[test]
    fn what_belongs_to_one_exchange_is_not_kept() {
        let response = Response::builder()
            .header("connection", "close, X-Hop")
            .header("x-hop", "1")
            .header("keep-alive", "timeout=5")
            .header("set-cookie", "session=1")
            .header("content-length", "0")
            .header("X-Request-Id", "1")
            .header("link", "</a>")
            .header("link", "</b>")
            .header("etag", "\"x\"")
            .body(&[][..])
            .unwrap();
        let again = through_json(stored(response)).into_response().unwrap();
        let names: Vec<_> = again.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["link", "etag"]);
        let links: Vec<_> = again.headers().get_all("link").iter().collect();
        assert_eq!(links, ["</a>", "</b>"], "all of them, in their order");
    }

    #[test]
    fn a_newer_format_is_not_misread() {
        assert!(serde_json::from_str::<Stored>(r#"{"response/2":{}}"#).is_err());
    }
}
