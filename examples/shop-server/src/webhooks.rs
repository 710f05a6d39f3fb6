//! Events that somebody else sends, at least once each.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hmac::{Hmac, KeyInit, Mac};
use idempotency::http::Scope;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::api::Failed;
use crate::ledger::{Entry, Ledger};

/// The largest event, in bytes.
const LARGEST: usize = 256 * 1024;
/// How old a signature may be: an older one is somebody's recording.
const OLDEST: Duration = Duration::from_secs(5 * 60);

/// What signatures are made with.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) Arc<str>);

/// Takes note of an event. The layer sees to it that this happens once for each.
pub(crate) async fn receive(
    State(ledger): State<Ledger>,
    Json(event): Json<Value>,
) -> Result<StatusCode, Failed> {
    let entry = Entry {
        id: event["id"].as_str().unwrap_or_default().to_owned(),
        caller: "webhooks".to_owned(),
        what: event["type"].clone(),
    };
    ledger.add(&entry).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How many events there were.
pub(crate) async fn count(State(ledger): State<Ledger>) -> Result<Json<Value>, Failed> {
    let count = ledger.of("webhooks").await?.len();
    Ok(Json(json!({ "count": count })))
}

/// Lets signed events through, and nothing else: outside of the idempotency layer, so that a forged event
/// takes no key.
pub(crate) async fn verify(
    Extension(secret): Extension<Secret>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let signature = parts.headers.get("stripe-signature");
    let signature = signature.and_then(|signature| signature.to_str().ok());
    if !signature.is_some_and(|signature| is_signed(&secret, signature, &body)) {
        return (
            StatusCode::BAD_REQUEST,
            "the signature is missing, wrong or too old\n",
        )
            .into_response();
    }
    let mut request = Request::from_parts(parts, Body::from(body));
    request.extensions_mut().insert(Scope::new("webhooks"));
    next.run(request).await
}

/// Whether `signature`, as in `t=1492774577,v1=5257a8..`, is of this body.
fn is_signed(Secret(secret): &Secret, signature: &str, body: &[u8]) -> bool {
    let part = |name: &str| {
        let mut parts = signature.split(',').filter_map(|part| part.split_once('='));
        parts
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    };
    let (Some(time), Some(Some(digest))) = (part("t"), part("v1").map(unhex)) else {
        return false;
    };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return false;
    };
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    // In constant time.
    mac.verify_slice(&digest).is_ok() && is_recent(time)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the sender's clock is on the wall"
)]
fn is_recent(time: &str) -> bool {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let time = time.parse().map(Duration::from_secs);
    time.is_ok_and(|time| now.abs_diff(time) <= OLDEST)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(byte).collect()
}
