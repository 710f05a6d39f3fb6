//! Customers, in the manner of Stripe's API, so that Stripe's own clients can be pointed here.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{Extension, Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, body};
use idempotency::http::{IdempotencyContext, Scope};
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use crate::api::Failed;
use crate::ledger::{Entry, Ledger};

/// Makes a customer. `metadata[sleep_ms]` slows it, and `name=fail500` makes it fail after it has begun.
pub(crate) async fn create_customer(
    State(ledger): State<Ledger>,
    Extension(account): Extension<Scope>,
    context: Option<IdempotencyContext>,
    Form(form): Form<BTreeMap<String, String>>,
) -> Result<Response, Failed> {
    let (name, email) = (form.get("name"), form.get("email"));
    if email.is_some_and(|email| !email.contains('@')) {
        let message = "Invalid email address";
        return Ok(error(
            StatusCode::BAD_REQUEST,
            "invalid_request_error",
            message,
        ));
    }
    let id = match &context {
        Some(context) => {
            // What comes before this does not take the key.
            context.begin();
            format!("cus_{}", &context.attempt().key_for("customer")[..14])
        }
        None => format!("cus_{}", Uuid::new_v4().simple()),
    };
    let metadata = metadata(&form);
    let pause = metadata
        .get("sleep_ms")
        .and_then(|pause| pause.parse().ok());
    sleep(Duration::from_millis(pause.unwrap_or_default())).await;
    let customer = json!({
        "id": id,
        "object": "customer",
        "email": email,
        "livemode": false,
        "metadata": metadata,
        "name": name,
    });
    let entry = Entry {
        id,
        caller: account.as_str().to_owned(),
        what: customer,
    };
    let customer = ledger.add_once(entry, context.as_ref()).await?.what;
    if name.is_some_and(|name| name == "fail500") {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        return Ok(error(status, "api_error", "An unexpected error occurred"));
    }
    Ok(Json(customer).into_response())
}

fn metadata(form: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    let entry = |(name, value)| {
        let name = str::strip_prefix(name, "metadata[")?.strip_suffix(']')?;
        Some((name, value))
    };
    let pairs = form
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    pairs.filter_map(entry).collect()
}

fn error(status: StatusCode, kind: &str, message: &str) -> Response<body::Body> {
    let error: Value = json!({ "error": { "type": kind, "message": message } });
    (status, Json(error)).into_response()
}
