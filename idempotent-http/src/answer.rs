//! What has become of a request, and the response that follows from it.

use http::header::HeaderValue;
use http::{Extensions, HeaderMap, Response, response};
use http_body::Body as HttpBody;
use idempotent_core::{Error, Outcome, Provenance};
use serde::{Deserialize, Serialize};

use crate::body::{Body, Buffered};
use crate::config::Config;
use crate::context::IdempotencyContext;
use crate::error::HttpError;
use crate::key;
use crate::policy::Recording;
use crate::stored::{Stored, StoredResponse};

/// What core records, replays and returns.
pub(crate) type Answer<R, E> = Result<Outcome<Answered<R>>, Ended<R, E>>;

/// What is recorded, and the response itself where it was just made: the first caller gets every header,
/// and a body as it came.
#[derive(Deserialize, Serialize)]
#[serde(bound = "", transparent)]
pub(crate) struct Answered<R> {
    stored: Stored,
    #[serde(skip)]
    live: Option<Box<Response<Body<R>>>>,
}

/// What is not recorded.
pub(crate) enum Ended<R, E> {
    Inner(E),
    Refused(HttpError),
    Released {
        response: Box<Response<Body<R>>>,
        /// Whether the handler may have done anything.
        began: bool,
    },
}

impl<R, E> From<Error> for Ended<R, E> {
    fn from(error: Error) -> Self {
        Self::Refused(error.into())
    }
}

impl<R, E> From<HttpError> for Ended<R, E> {
    fn from(error: HttpError) -> Self {
        Self::Refused(error)
    }
}

impl<R, E> Ended<R, E> {
    /// Whether nothing was done: the key is as new.
    pub(crate) const fn is_clean(&self) -> bool {
        matches!(self, Self::Released { began: false, .. })
    }

    /// A response that is not kept.
    pub(crate) fn unrecorded(
        recording: Recording,
        parts: response::Parts,
        body: Body<R>,
        began: bool,
    ) -> Answer<R, E> {
        let status = parts.status.as_u16();
        let stored = Stored::unavailable(&parts.headers);
        let response = Box::new(Response::from_parts(parts, body));
        match recording {
            Recording::Release => {
                tracing::debug!(target: "idempotency", status, "released");
                Err(Self::Released { response, began })
            }
            Recording::Store | Recording::Tombstone => {
                tracing::debug!(target: "idempotency", status, "tombstoned");
                Ok(Outcome::new(Answered {
                    stored,
                    live: Some(response),
                }))
            }
        }
    }
}

impl Config {
    /// What becomes of a response, as far as its head can say.
    pub(crate) fn recording(
        &self,
        parts: &response::Parts,
        body: &impl HttpBody,
        began: bool,
    ) -> Recording {
        let recording = match chosen(&parts.extensions) {
            Some(recording) => recording,
            None if !began => Recording::Release,
            None => self.statuses.decide(parts.status, &parts.headers),
        };
        let is_small = usize::try_from(body.size_hint().lower())
            .is_ok_and(|least| least <= self.max_response_body);
        if recording == Recording::Store && (is_endless(parts) || !is_small) {
            self.unstorable
        } else {
            recording
        }
    }

    pub(crate) fn recorded<R>(
        &self,
        parts: response::Parts,
        body: Buffered,
        context: &IdempotencyContext,
    ) -> Outcome<Answered<R>> {
        let attempt = context.attempt().number();
        let stored = StoredResponse::new(&parts, &body, attempt, &self.kept_headers);
        Outcome::new(Answered {
            stored: Stored::Response(stored),
            live: Some(Box::new(Response::from_parts(parts, Body::buffered(body)))),
        })
    }

    /// The layer's own answer.
    pub(crate) fn refusal<R>(&self, error: &HttpError) -> Response<Body<R>> {
        if error.status().is_server_error() {
            let (code, cause) = (error.code(), std::error::Error::source(error));
            tracing::error!(target: "idempotency", code, cause, "{error}");
        } else {
            tracing::debug!(target: "idempotency", code = error.code(), "{error}");
        }
        self.render.render(error).map(|data| {
            Body::buffered(Buffered {
                data,
                trailers: None,
            })
        })
    }
}

fn chosen(extensions: &Extensions) -> Option<Recording> {
    extensions.get().copied()
}

/// Whether to read a response to its end would be to wait for ever.
fn is_endless(parts: &response::Parts) -> bool {
    let content_type = parts.headers.get(http::header::CONTENT_TYPE);
    let is_event_stream = content_type.is_some_and(|content_type| {
        let name = content_type.as_bytes().get(..b"text/event-stream".len());
        name.is_some_and(|name| name.eq_ignore_ascii_case(b"text/event-stream"))
    });
    is_event_stream || parts.status == http::StatusCode::SWITCHING_PROTOCOLS
}

/// The response to the client.
pub(crate) fn answered<R, E>(
    config: &Config,
    key: &str,
    answer: Answer<R, E>,
) -> Result<Response<Body<R>>, E> {
    let mut response = match answer {
        Ok(outcome) => told(config, outcome),
        Err(Ended::Inner(error)) => return Err(error),
        Err(Ended::Refused(error)) => config.refusal(&error),
        Err(Ended::Released { response, .. }) => *response,
    };
    if config.echoes_key
        && let Ok(value) = HeaderValue::from_str(&key::write(key))
    {
        let name = config.source.header_name();
        let name = name.cloned().unwrap_or(crate::IDEMPOTENCY_KEY);
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

/// A response, with what its headers say of how it came about.
fn told<R>(config: &Config, outcome: Outcome<Answered<R>>) -> Response<Body<R>> {
    let provenance = outcome.provenance();
    let Answered { stored, live } = outcome.into_value();
    let is_kept = matches!(stored, Stored::Response(_))
        && matches!(
            provenance,
            Provenance::Executed { kept: true, .. } | Provenance::Replayed { .. }
        );
    let mut response = match live {
        Some(response) => *response,
        None => match replayed(stored) {
            Ok(mut response) => {
                if let Some(name) = &config.replayed {
                    let mark = HeaderValue::from_static("true");
                    response.headers_mut().insert(name, mark);
                }
                response
            }
            Err(error) => return config.refusal(&error),
        },
    };
    let is_server_error = response.status().is_server_error();
    mark(response.headers_mut(), config, is_kept, is_server_error);
    response
}

fn mark(headers: &mut HeaderMap, config: &Config, is_kept: bool, is_server_error: bool) {
    let no = HeaderValue::from_static("false");
    if !is_kept {
        headers.insert(crate::IDEMPOTENCY_STORED, no);
    } else if config.tells_stripe && is_server_error {
        headers.insert(crate::STRIPE_SHOULD_RETRY, no);
    }
}

fn replayed<R>(stored: Stored) -> Result<Response<Body<R>>, HttpError> {
    match stored {
        Stored::Response(stored) => match stored.into_response() {
            Some(response) => Ok(response.map(Body::buffered)),
            None => Err(HttpError::Unavailable { location: None }),
        },
        Stored::Unavailable { location } => Err(HttpError::Unavailable {
            location: location.and_then(|location| location.to_header()),
        }),
    }
}
