//! Where a request goes, as its router sees it.

use http::request::Parts;
use http::{Extensions, Uri};

/// The path as the client has sent it. axum's nested routers take their prefix off `Parts::uri`, by
/// which `/v1/orders` and `/v2/orders` would be the same.
pub(crate) fn uri(parts: &Parts) -> &Uri {
    #[cfg(feature = "axum")]
    if let Some(original) = parts.extensions.get::<::axum::extract::OriginalUri>() {
        return &original.0;
    }
    &parts.uri
}

/// Whether an axum router has found no route. Its 404 is not worth keeping: the client may mend the
/// path, and use the key again.
pub(crate) fn is_unmatched(extensions: &Extensions) -> bool {
    #[cfg(feature = "axum")]
    {
        use ::axum::extract::{MatchedPath, OriginalUri};

        let is_routed = extensions.get::<OriginalUri>().is_some();
        is_routed && extensions.get::<MatchedPath>().is_none()
    }
    #[cfg(not(feature = "axum"))]
    {
        _ = extensions;
        false
    }
}

/// The template of the route, or the path if there is none.
pub(crate) fn template(parts: &Parts) -> &str {
    #[cfg(feature = "axum")]
    if let Some(matched) = parts.extensions.get::<::axum::extract::MatchedPath>() {
        return matched.as_str();
    }
    uri(parts).path()
}
