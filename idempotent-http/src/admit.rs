//! Whether a request is protected, under which key, and all that can be said against it before the
//! store is asked.

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http_body::Body as HttpBody;
use idempotent_core::BoxError;
use tokio::time::timeout;
use uuid::Uuid;

use crate::body::{Body, Buffered, Read, read};
use crate::config::{Config, MissingKey};
use crate::error::HttpError;
use crate::key::Found;

pub(crate) enum Admitted<B> {
    /// It is none of the layer's business.
    Passes(Body<B>),
    Protected(Protected),
}

/// A request with a key, whose body is all there.
pub(crate) struct Protected {
    pub(crate) body: Buffered,
    /// What the client calls the key.
    pub(crate) key: String,
    /// The name of the record: the caller and the key.
    pub(crate) record: String,
}

pub(crate) async fn admit<B>(
    config: &Config,
    parts: &Parts,
    body: B,
) -> Result<Admitted<B>, HttpError>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    if !config.takes(parts) {
        return Ok(Admitted::Passes(Body::live(body)));
    }
    let found = config
        .source
        .find(parts, &config.rules)
        .map_err(HttpError::InvalidKey)?;
    let key = match found {
        Found::Absent => match config.instead_of_key()? {
            None => return Ok(Admitted::Passes(Body::live(body))),
            minted => minted,
        },
        Found::InBody => None,
        Found::Key(key) => Some(key),
    };
    let caller = config
        .callers
        .prefix(parts)
        .map_err(|error| HttpError::Scope(error.into()))?;
    // Before anything is claimed: a client that goes away in the middle leaves nothing behind.
    let body = upload(config, parts, body).await?;
    let key = match key {
        Some(key) => key,
        None => match config.key_in(&body.data)? {
            None => return Ok(Admitted::Passes(Body::buffered(body))),
            Some(key) => key,
        },
    };
    let record = caller + &key;
    Ok(Admitted::Protected(Protected { body, key, record }))
}

impl Config {
    fn key_in(&self, body: &Bytes) -> Result<Option<String>, HttpError> {
        let found = self
            .source
            .find_in_body(body, &self.rules)
            .map_err(HttpError::InvalidKey)?;
        match found {
            Found::Key(key) => Ok(Some(key)),
            Found::Absent | Found::InBody => self.instead_of_key(),
        }
    }

    /// What serves as the key of a request without one.
    fn instead_of_key(&self) -> Result<Option<String>, HttpError> {
        match self.missing {
            MissingKey::Mint => Ok(Some(Uuid::new_v4().to_string())),
            MissingKey::Pass => Ok(None),
            MissingKey::Refuse => Err(HttpError::Missing {
                place: self.source.describe(),
            }),
        }
    }
}

/// Reads a request's body, if it is not too large and does not take too long.
async fn upload<B>(config: &Config, parts: &Parts, body: B) -> Result<Buffered, HttpError>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let limit = config.max_request_body;
    let declared = parts.headers.get(CONTENT_LENGTH);
    let declared: Option<u64> = declared.and_then(|length| length.to_str().ok()?.parse().ok());
    let least = declared.unwrap_or(0).max(body.size_hint().lower());
    if usize::try_from(least).map_or(true, |least| least > limit) {
        return Err(HttpError::TooLarge { limit });
    }
    match timeout(config.upload_timeout, read(body, limit)).await {
        Ok(Read::Whole(body)) => Ok(body),
        Ok(Read::TooLarge(..)) => Err(HttpError::TooLarge { limit }),
        Ok(Read::Failed(error)) => Err(HttpError::Upload(error.into())),
        Err(_) => Err(HttpError::UploadTimeout),
    }
}
