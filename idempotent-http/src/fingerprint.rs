//! By what a retry is compared with the request that came first.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, Uri};
use serde::{Serialize, Serializer};
use serde_json::Value;

/// What a retry is compared by: method, path, query and body, byte for byte, and no header.
///
/// Headers are left out because a client's retry may have others: another `User-Agent`, `Date`, or
/// `traceparent`.
///
/// # Examples
///
/// A client that writes its JSON anew for each retry, in another order or with another time:
///
/// ```
/// use idempotent_http::RequestFingerprint;
///
/// let fingerprint = RequestFingerprint::json().without("/sent_at");
/// # _ = fingerprint;
/// ```
#[derive(Clone, Debug, Default)]
pub struct RequestFingerprint {
    by: By,
    headers: Vec<HeaderName>,
    secret: Vec<u8>,
}

#[derive(Clone, Default)]
enum By {
    #[default]
    Bytes,
    Json {
        only: Vec<String>,
        without: Vec<String>,
    },
    Nothing,
    Of(Arc<Digest>),
}

type Digest = dyn Fn(&Parts, &Bytes) -> Vec<u8> + Send + Sync;

impl RequestFingerprint {
    /// Compares bodies byte for byte.
    #[must_use]
    pub fn bytes() -> Self {
        Self::default()
    }

    /// Compares JSON bodies by what they say: the order of members and white space do not count. Of a
    /// member that is there twice, the last counts. A body that is no JSON is compared by its bytes.
    #[must_use]
    pub fn json() -> Self {
        Self::by(By::Json {
            only: Vec::new(),
            without: Vec::new(),
        })
    }

    /// Compares nothing: whoever sends the key gets its response.
    #[must_use]
    pub fn none() -> Self {
        Self::by(By::Nothing)
    }

    /// Compares whatever `digest` makes of a request, and nothing else.
    #[must_use]
    pub fn of(digest: impl Fn(&Parts, &Bytes) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::by(By::Of(Arc::new(digest)))
    }

    fn by(by: By) -> Self {
        Self {
            by,
            ..Self::default()
        }
    }

    /// Compares this member of a JSON body, and beside it only others that are named so. `pointer` is of
    /// RFC 6901, as in `/order/id`. Turns a comparison by bytes into one by JSON.
    #[must_use]
    pub fn only(mut self, pointer: impl Into<String>) -> Self {
        self.json_members().0.push(pointer.into());
        self
    }

    /// Leaves this member of a JSON body out. `pointer` is of RFC 6901. Turns a comparison by bytes into
    /// one by JSON.
    #[must_use]
    pub fn without(mut self, pointer: impl Into<String>) -> Self {
        self.json_members().1.push(pointer.into());
        self
    }

    fn json_members(&mut self) -> (&mut Vec<String>, &mut Vec<String>) {
        if !matches!(self.by, By::Json { .. }) {
            self.by = Self::json().by;
        }
        match &mut self.by {
            By::Json { only, without } => (only, without),
            By::Bytes | By::Nothing | By::Of(_) => unreachable!("it is by JSON now"),
        }
    }

    /// Compares a header, too.
    #[must_use]
    pub fn header(mut self, name: HeaderName) -> Self {
        self.headers.push(name);
        self
    }

    /// Keys the digest, so that nobody who reads the store can guess at short bodies.
    #[must_use]
    pub fn secret(mut self, secret: impl Into<Vec<u8>>) -> Self {
        self.secret = secret.into();
        self
    }

    /// What core digests, or `None` if nothing is compared.
    pub(crate) fn request<'a>(
        &'a self,
        parts: &'a Parts,
        uri: &'a Uri,
        body: &'a Bytes,
    ) -> Option<Request<'a>> {
        let compared = match &self.by {
            By::Bytes => Compared::Bytes(Octets(body)),
            By::Json { only, without } => match serde_json::from_slice(body) {
                Ok(json) => Compared::Json(pick(json, only, without)),
                Err(_) => Compared::Bytes(Octets(body)),
            },
            By::Nothing => return None,
            By::Of(digest) => {
                return Some(Request {
                    secret: Octets(&self.secret),
                    head: None,
                    body: Compared::Custom(digest(parts, body)),
                });
            }
        };
        Some(Request {
            secret: Octets(&self.secret),
            head: Some(Head {
                method: parts.method.as_str(),
                path: uri.path(),
                query: uri.query(),
                headers: self.named(parts),
            }),
            body: compared,
        })
    }

    fn named<'a>(&'a self, parts: &'a Parts) -> Vec<(&'a str, Vec<Octets<'a>>)> {
        let values = |name| {
            let values = parts.headers.get_all(name).iter();
            values.map(|value| Octets(value.as_bytes())).collect()
        };
        self.headers
            .iter()
            .map(|name| (name.as_str(), values(name)))
            .collect()
    }
}

/// The members of `json` that count.
fn pick(json: Value, only: &[String], without: &[String]) -> Value {
    let mut json = if only.is_empty() {
        json
    } else {
        let member = |pointer: &String| {
            let found = json.pointer(pointer).cloned();
            // What is not there differs from what is there and null.
            (
                pointer.clone(),
                found.map_or(Value::Array(Vec::new()), |found| [found].into()),
            )
        };
        Value::Object(only.iter().map(member).collect())
    };
    for pointer in without {
        remove(&mut json, pointer);
    }
    json
}

fn remove(json: &mut Value, pointer: &str) {
    let Some((parent, name)) = pointer.rsplit_once('/') else {
        return;
    };
    let name = name.replace("~1", "/").replace("~0", "~");
    match json.pointer_mut(parent) {
        Some(Value::Object(members)) => _ = members.remove(&name),
        Some(Value::Array(items)) => {
            if let Some(item) = name.parse().ok().and_then(|at: usize| items.get_mut(at)) {
                *item = Value::Null;
            }
        }
        Some(_) | None => {}
    }
}

/// A request, as core digests it: every part with its name and its length.
#[derive(Serialize)]
pub(crate) struct Request<'a> {
    secret: Octets<'a>,
    head: Option<Head<'a>>,
    body: Compared<'a>,
}

#[derive(Serialize)]
struct Head<'a> {
    method: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    headers: Vec<(&'a str, Vec<Octets<'a>>)>,
}

#[derive(Serialize)]
enum Compared<'a> {
    Bytes(Octets<'a>),
    Custom(Vec<u8>),
    Json(Value),
}

struct Octets<'a>(&'a [u8]);

impl Serialize for Octets<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl fmt::Debug for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "Bytes",
            Self::Json { .. } => "Json",
            Self::Nothing => "Nothing",
            Self::Of(_) => "Of(..)",
        })
    }
}

#[cfg(test)]
mod tests {
    use idempotent_core::Fingerprint;

    use super::*;

    fn digest(by: &RequestFingerprint, body: &'static str) -> Fingerprint {
        let request = http::Request::post("/orders?a=1")
            .header("x-version", "2")
            .body(())
            .unwrap();
        let (parts, ()) = request.into_parts();
        let body = Bytes::from_static(body.as_bytes());
        Fingerprint::of(&by.request(&parts, &parts.uri, &body).unwrap()).unwrap()
    }

    #[test]
    fn json_is_compared_by_what_it_says() {
        let json = RequestFingerprint::json();
        let one = digest(&json, r#"{"a": 1, "b": [2, {"c": null}]}"#);
        assert_eq!(one, digest(&json, r#"{"b":[2,{"c":null}],"a":1}"#));
        assert_ne!(one, digest(&json, r#"{"b":[{"c":null},2],"a":1}"#));
        assert_ne!(one, digest(&json, r#"{"a": 1, "b": [2, {"c": 0}]}"#));
        let bytes = RequestFingerprint::bytes();
        assert_ne!(digest(&bytes, r#"{"a": 1}"#), digest(&bytes, r#"{"a":1}"#));
        assert_ne!(
            digest(&json, "{"),
            digest(&json, "{ "),
            "no JSON: by its bytes"
        );
    }

    #[test]
    fn integers_that_a_float_folds_differ() {
        let json = RequestFingerprint::json();
        assert_ne!(
            digest(&json, "9007199254740992"),
            digest(&json, "9007199254740993")
        );
    }

    #[test]
    fn members_can_be_chosen_and_left_out() {
        let by = RequestFingerprint::json()
            .without("/sent_at")
            .without("/order/~1note");
        let one = digest(&by, r#"{"order": {"id": 1, "/note": "a"}, "sent_at": 1}"#);
        assert_eq!(one, digest(&by, r#"{"order": {"id": 1}, "sent_at": 2}"#));
        assert_ne!(one, digest(&by, r#"{"order": {"id": 2}, "sent_at": 1}"#));
        let by = RequestFingerprint::json().only("/order/id");
        let one = digest(&by, r#"{"order": {"id": 1}, "x": 1}"#);
        assert_eq!(one, digest(&by, r#"{"order": {"id": 1}}"#));
        assert_ne!(one, digest(&by, r#"{"order": {}}"#));
        assert_ne!(
            digest(&by, r#"{"order": {}}"#),
            digest(&by, r#"{"order": {"id": null}}"#)
        );
    }

    #[test]
    fn a_named_header_and_a_secret_count() {
        let plain = digest(&RequestFingerprint::bytes(), "x");
        let header = RequestFingerprint::bytes().header(HeaderName::from_static("x-version"));
        assert_ne!(plain, digest(&header, "x"));
        assert_ne!(
            plain,
            digest(&RequestFingerprint::bytes().secret("pepper"), "x")
        );
        assert!(
            RequestFingerprint::none()
                .request(
                    &http::Request::new(()).into_parts().0,
                    &Uri::default(),
                    &Bytes::new()
                )
                .is_none()
        );
    }
}
