use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Serialize;

use super::{Render, response};
use crate::error::HttpError;

/// Errors in the shape of Stripe's API, which Stripe's own clients understand: a mismatch is a 400 of
/// type `idempotency_error`, a request in progress a 409 with the code `idempotency_key_in_use`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct StripeErrors;

#[derive(Serialize)]
struct Body<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    r#type: &'a str,
    code: &'a str,
    message: String,
}

impl Render for StripeErrors {
    fn render(&self, error: &HttpError) -> Response<Bytes> {
        let (kind, code, status) = match error {
            // Stripe's clients raise an `IdempotencyError` for this type with a 400 alone.
            HttpError::Mismatch => (
                "idempotency_error",
                "idempotency_key_mismatch",
                StatusCode::BAD_REQUEST,
            ),
            HttpError::InProgress { .. } => (
                "invalid_request_error",
                "idempotency_key_in_use",
                error.status(),
            ),
            HttpError::Failed(_) | HttpError::Scope(_) | HttpError::Store(_) => {
                ("api_error", error.code(), error.status())
            }
            HttpError::Indeterminate
            | HttpError::InvalidKey(_)
            | HttpError::Missing { .. }
            | HttpError::TooLarge { .. }
            | HttpError::Unavailable { .. }
            | HttpError::Upload(_)
            | HttpError::UploadTimeout => ("invalid_request_error", error.code(), error.status()),
        };
        let body = Body {
            error: Inner {
                r#type: kind,
                code,
                message: error.to_string(),
            },
        };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = response(error, status, "application/json", body.into());
        // Their clients retry every 409, unless told not to.
        let should_retry = if error.is_retryable() {
            "true"
        } else {
            "false"
        };
        response.headers_mut().insert(
            crate::STRIPE_SHOULD_RETRY,
            http::HeaderValue::from_static(should_retry),
        );
        response
    }
}
