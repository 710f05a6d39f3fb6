use std::collections::HashMap;

use bytes::Bytes;
use http::header::{CONTENT_LANGUAGE, LINK};
use http::{HeaderValue, Response, StatusCode, Uri};
use serde::Serialize;
use uuid::Uuid;

use super::{Render, response};
use crate::error::HttpError;

/// Problem details of RFC 9457, as `application/problem+json`.
///
/// ```json
/// {
///   "type": "https://docs.rs/idempotent-http/latest/idempotent_http/problems/index.html#mismatch",
///   "title": "Idempotency-Key is already used",
///   "status": 422,
///   "detail": "the key was used before with another request; use a new key for a new request",
///   "instance": "urn:uuid:0b2e5c4e-58a0-4b3a-8c7e-0f5f0f0c9f55",
///   "code": "mismatch",
///   "retryable": false
/// }
/// ```
///
/// `type` points to where the problem is explained: to [these pages](crate::problems), unless yours
/// are named.
#[derive(Clone, Debug)]
pub struct Problems {
    base: String,
    docs: Option<HeaderValue>,
    statuses: HashMap<&'static str, StatusCode>,
}

/// A type of our own, because `http::Uri`, which other crates have in it, takes neither a URN nor a
/// fragment.
#[derive(Serialize)]
struct Problem {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
    instance: String,
    code: &'static str,
    retryable: bool,
}

impl Problems {
    /// Problems that point to these pages.
    #[must_use]
    pub fn new() -> Self {
        let pages = "https://docs.rs/idempotent-http/latest/idempotent_http/problems/index.html#";
        Self {
            base: pages.to_owned(),
            docs: None,
            statuses: HashMap::new(),
        }
    }

    /// Puts `base` before a problem's code to make its `type`, as in `https://api.example.com/problems/`.
    #[must_use]
    pub fn with_base(mut self, base: impl Into<String>) -> Self {
        self.base = base.into();
        self
    }

    /// Adds a `Link` to a page for people, with the relation `describedby`.
    #[must_use]
    pub fn with_docs(mut self, page: &Uri) -> Self {
        let link = format!("<{page}>; rel=\"describedby\"; type=\"text/html\"");
        self.docs = link.try_into().ok();
        self
    }

    /// Gives the problem with this [`code`](HttpError::code) another status, such as 401 to `scope`.
    #[must_use]
    pub fn with_status(mut self, code: &'static str, status: StatusCode) -> Self {
        self.statuses.insert(code, status);
        self
    }
}

impl Render for Problems {
    fn render(&self, error: &HttpError) -> Response<Bytes> {
        let code = error.code();
        let status = self.statuses.get(code).copied();
        let status = status.unwrap_or_else(|| error.status());
        let problem = Problem {
            r#type: format!("{}{code}", self.base),
            title: error.title(),
            status: status.as_u16(),
            detail: error.to_string(),
            instance: Uuid::new_v4().urn().to_string(),
            code,
            retryable: error.is_retryable(),
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = response(error, status, "application/problem+json", body.into());
        let headers = response.headers_mut();
        headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static("en"));
        if let Some(docs) = &self.docs {
            headers.insert(LINK, docs.clone());
        }
        response
    }
}

impl Default for Problems {
    fn default() -> Self {
        Self::new()
    }
}
