//! How the layer's own answers look.

mod problems;
mod stripe;

use bytes::Bytes;
use http::Response;

pub use self::problems::Problems;
pub use self::stripe::StripeErrors;
use crate::error::HttpError;

/// Makes a response of what the layer has to say.
///
/// Implemented by [`Problems`], the default, by [`StripeErrors`], and by closures.
pub trait Render: Send + Sync + 'static {
    /// The response to a client.
    fn render(&self, error: &HttpError) -> Response<Bytes>;
}

impl<F: Fn(&HttpError) -> Response<Bytes> + Send + Sync + 'static> Render for F {
    fn render(&self, error: &HttpError) -> Response<Bytes> {
        self(error)
    }
}

/// A response with the headers that follow from `error`, whatever its body is.
fn response(
    error: &HttpError,
    status: http::StatusCode,
    content_type: &'static str,
    body: Bytes,
) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static(content_type),
    );
    if let Some(seconds) = error.retry_after() {
        headers.insert(http::header::RETRY_AFTER, seconds.into());
    }
    if let HttpError::Unavailable {
        location: Some(location),
    } = error
    {
        headers.insert(http::header::LOCATION, location.clone());
    }
    response
}
