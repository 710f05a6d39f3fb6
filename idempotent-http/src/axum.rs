use ::axum::extract::{FromRequestParts, OptionalFromRequestParts};
use ::axum::http::StatusCode;
use ::axum::response::{IntoResponse, Response};
use http::request::Parts;

use crate::context::IdempotencyContext;

/// A handler wants to know of its attempt, and the request is not protected.
///
/// Put the route behind an [`IdempotencyLayer`](crate::IdempotencyLayer) that
/// [refuses](crate::MissingKey::Refuse) requests without a key, or extract an
/// `Option<IdempotencyContext>`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "the request is not protected: it has no key, or its route is not behind an `IdempotencyLayer`"
)]
#[non_exhaustive]
pub struct NotProtected;

impl IntoResponse for NotProtected {
    fn into_response(self) -> Response {
        tracing::error!(target: "idempotency", "{self}");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyContext {
    type Rejection = NotProtected;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotProtected> {
        parts.extensions.get().cloned().ok_or(NotProtected)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for IdempotencyContext {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get().cloned())
    }
}
