//! Whose request it is.

use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use idempotency::http::Scope;

/// Finds the caller, for all that comes after it: a real service checks the token here.
pub(crate) async fn identify(mut request: Request, next: Next) -> Response {
    let Some(caller) = caller(request.headers()) else {
        return (
            StatusCode::UNAUTHORIZED,
            "say who you are: `Authorization: Bearer TOKEN` or `X-Tenant: NAME`\n",
        )
            .into_response();
    };
    request.extensions_mut().insert(caller);
    next.run(request).await
}

fn caller(headers: &HeaderMap) -> Option<Scope> {
    if let Some(authorization) = headers.get(AUTHORIZATION) {
        let token = authorization.to_str().ok()?.strip_prefix("Bearer ")?.trim();
        // The token itself is nothing to keep.
        return (!token.is_empty()).then(|| Scope::secret(token));
    }
    let Some(tenant) = headers.get("x-tenant") else {
        return Some(Scope::new("anonymous"));
    };
    // Apart from `anonymous`, whatever a tenant is called.
    match tenant.to_str().ok()?.trim() {
        "" => None,
        tenant => Some(Scope::new(format!("tenant:{tenant}"))),
    }
}
