//! Orders: `/api`, and what is there to look at.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use idempotency::http::{IdempotencyContext, Scope};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use crate::ledger::{Entry, Ledger};
use crate::outage::Switch;

/// Makes one order of whatever is asked for.
///
/// `X-Test-Delay-Ms` and `X-Test-Delay-After-Ms` slow it, before and after the order is there.
pub(crate) async fn create(
    State(ledger): State<Ledger>,
    Extension(caller): Extension<Scope>,
    context: Option<IdempotencyContext>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failed> {
    sleep(milliseconds(&headers, "x-test-delay-ms")).await;
    let (id, attempt) = match &context {
        // The same for each attempt.
        Some(context) => (
            context.attempt().key_for("order")[..20].to_owned(),
            context.attempt().number(),
        ),
        None => (Uuid::new_v4().simple().to_string(), 1),
    };
    let entry = Entry {
        id: format!("ord_{id}"),
        caller: caller.as_str().to_owned(),
        what: wanted(&body),
    };
    let entry = ledger.add_once(entry, context.as_ref()).await?;
    sleep(milliseconds(&headers, "x-test-delay-after-ms")).await;
    let location = [(LOCATION, format!("/api/{}", entry.id))];
    let order = json!({ "id": entry.id, "order": entry.what, "attempt": attempt });
    Ok((StatusCode::CREATED, location, Json(order)).into_response())
}

/// A body as JSON, or as a text if it is none.
fn wanted(body: &Bytes) -> Value {
    serde_json::from_slice(body)
        .unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned().into())
}

fn milliseconds(headers: &HeaderMap, name: &str) -> Duration {
    let value = headers
        .get(name)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_millis(value.unwrap_or_default())
}

/// The caller's orders.
pub(crate) async fn list(
    State(ledger): State<Ledger>,
    Extension(caller): Extension<Scope>,
) -> Result<Json<Value>, Failed> {
    let orders = ledger.of(caller.as_str()).await?.into_iter();
    let orders: Vec<_> = orders
        .map(|entry| json!({ "id": entry.id, "order": entry.what }))
        .collect();
    Ok(Json(json!({ "orders": orders })))
}

/// How many orders the caller has.
pub(crate) async fn count(
    State(ledger): State<Ledger>,
    Extension(caller): Extension<Scope>,
) -> Result<Json<Value>, Failed> {
    let count = ledger.of(caller.as_str()).await?.len();
    Ok(Json(json!({ "count": count })))
}

#[derive(Deserialize)]
pub(crate) struct Outage {
    down: bool,
}

/// Switches the store off, or on again.
pub(crate) async fn outage(
    State(switch): State<Switch>,
    Json(Outage { down }): Json<Outage>,
) -> Json<Value> {
    switch.set_down(down);
    Json(json!({ "down": down }))
}

/// The ledger could not be read or written.
pub(crate) struct Failed(std::io::Error);

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        eprintln!("shop-server: the ledger: {}", self.0);
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}
