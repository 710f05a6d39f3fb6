//! The other side: a client that retries what is safe to retry.
//!
//! [`MintKey`] gives each request a key, once. [`Retries`] sends it again, with the same key and the same
//! bytes, for as long as that can help. The order matters: a key that is made for each try protects from
//! nothing.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use idempotent_http::client::{MintKey, Retries};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), std::convert::Infallible> {
//! # let http_client = service_fn(async |request: Request<Bytes>| {
//! #     assert!(request.headers().contains_key("idempotency-key"));
//! #     Ok::<_, std::convert::Infallible>(Response::new(Bytes::new()))
//! # });
//! let client = ServiceBuilder::new()
//!     .layer(MintKey::new()) // outside: one key for all tries
//!     .retry(Retries::new())
//!     .service(http_client); // anything that takes `http::Request<B>` with a `B: Clone`
//!
//! let order = Request::post("https://api.example.com/orders").body(Bytes::from("{}")).unwrap();
//! let response = client.oneshot(order).await?;
//! # assert_eq!(response.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! - `hyper_util::client::legacy::Client<_, Full<Bytes>>` is such a service.
//! - `reqwest::Client` is a service of requests of its own, which are made from those of `http`:
//!   `.map_request(|request: http::Request<Bytes>| reqwest::Request::try_from(request))`, and
//!   `.map_response(http::Response::from)`.

use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use tokio::time::Sleep;
use tower::retry::Policy;
use tower::retry::backoff::{Backoff, ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff};
use tower::util::rng::HasherRng;
use tower_layer::Layer;
use tower_service::Service;
use uuid::Uuid;

/// Gives a key to each request that has none and whose method is not idempotent: a random UUID.
///
/// A key that the caller has put in stays. It is the better one if it comes from what the request is
/// for, such as an order's number, since it then outlives the process.
#[derive(Clone, Debug)]
pub struct MintKey {
    header: HeaderName,
    is_quoted: bool,
}

impl MintKey {
    /// Keys in `Idempotency-Key`, without quotes, as servers expect them nearly everywhere.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            header: crate::IDEMPOTENCY_KEY,
            is_quoted: false,
        }
    }

    /// Keys in another header.
    #[must_use]
    pub fn with_header(mut self, header: HeaderName) -> Self {
        self.header = header;
        self
    }

    /// Keys within quotes, as the draft has them.
    #[must_use]
    pub const fn quoted(mut self) -> Self {
        self.is_quoted = true;
        self
    }

    fn key(&self) -> Option<HeaderValue> {
        let key = Uuid::new_v4();
        let key = if self.is_quoted {
            format!("\"{key}\"")
        } else {
            key.to_string()
        };
        key.try_into().ok()
    }
}

impl Default for MintKey {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for MintKey {
    type Service = WithKeys<S>;

    fn layer(&self, inner: S) -> WithKeys<S> {
        WithKeys {
            inner,
            mint: self.clone(),
        }
    }
}

/// A client that [gives keys](MintKey) to its requests.
#[derive(Clone, Debug)]
pub struct WithKeys<S> {
    inner: S,
    mint: MintKey,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for WithKeys<S> {
    type Error = S::Error;
    type Future = S::Future;
    type Response = S::Response;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let header = &self.mint.header;
        if !request.method().is_idempotent()
            && !request.headers().contains_key(header)
            && let Some(key) = self.mint.key()
        {
            request.headers_mut().insert(header, key);
        }
        self.inner.call(request)
    }
}

/// Which requests are sent again, and when: a [`Policy`] for tower's `Retry`.
///
/// A request is sent again if it has a key, or its method is idempotent; and if
///
/// - there was no response: a connection that was refused or broke, a timeout;
/// - or the response is a 409 that says when to retry, as that of a request in progress does;
/// - or a 408, 425, 429, 500, 502, 503 or 504,
///
/// unless the response is a replay, which would come again, or says `Stripe-Should-Retry: false`. Other
/// responses are answers, 400 and 422 among them. An unknown outcome never gets a new key.
///
/// The pauses grow from 0.5 s to 5 s, with jitter. `Retry-After` in seconds is obeyed, unless it is longer
/// than the [longest wait](Self::with_longest_wait); then the response is returned. One with a date is
/// not read.
#[derive(Clone, Debug)]
pub struct Retries {
    backoff: ExponentialBackoff,
    header: HeaderName,
    left: u32,
    longest_wait: Duration,
}

impl Retries {
    /// Up to four retries.
    #[must_use]
    pub fn new() -> Self {
        Self {
            backoff: backoff(Duration::from_millis(500), Duration::from_secs(5)),
            header: crate::IDEMPOTENCY_KEY,
            left: 4,
            longest_wait: Duration::from_secs(30),
        }
    }

    /// Up to `retries` retries.
    #[must_use]
    pub const fn with_limit(mut self, retries: u32) -> Self {
        self.left = retries;
        self
    }

    /// Keys are in another header.
    #[must_use]
    pub fn with_header(mut self, header: HeaderName) -> Self {
        self.header = header;
        self
    }

    /// The pauses grow from `first` to `last`, or stay at `first` if that is longer. The shortest is 1 ms.
    #[must_use]
    pub fn with_pauses(mut self, first: Duration, last: Duration) -> Self {
        self.backoff = backoff(first, last);
        self
    }

    /// The longest `Retry-After` that is waited for: 30 s.
    #[must_use]
    pub const fn with_longest_wait(mut self, wait: Duration) -> Self {
        self.longest_wait = wait;
        self
    }

    fn pause(&mut self, asked: Option<Duration>) -> Option<Sleep> {
        match asked {
            Some(asked) if asked > self.longest_wait => None,
            Some(asked) => Some(tokio::time::sleep(asked)),
            None => Some(self.backoff.next_backoff()),
        }
    }
}

fn backoff(first: Duration, last: Duration) -> ExponentialBackoff {
    let first = first.max(Duration::from_millis(1));
    let last = last.max(first);
    ExponentialBackoffMaker::new(first, last, 0.5, HasherRng::default())
        .expect("the longest pause is not shorter than the first, nor is it zero")
        .make_backoff()
}

impl Default for Retries {
    fn default() -> Self {
        Self::new()
    }
}

impl<B: Clone, R, E> Policy<Request<B>, Response<R>, E> for Retries {
    type Future = Sleep;

    fn retry(
        &mut self,
        request: &mut Request<B>,
        result: &mut Result<Response<R>, E>,
    ) -> Option<Sleep> {
        let is_safe = request.headers().contains_key(&self.header)
            || request.method().is_idempotent() && request.method() != Method::CONNECT;
        if !is_safe || self.left == 0 {
            return None;
        }
        let asked = match result {
            Ok(response) if may_change(response) => retry_after(response),
            Ok(_) => return None,
            Err(_) => None,
        };
        self.left -= 1;
        self.pause(asked)
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}

/// Whether the same request may get another response later.
fn may_change<R>(response: &Response<R>) -> bool {
    let is = |name, value| response.headers().get(name).is_some_and(|is| is == value);
    if is(crate::STRIPE_SHOULD_RETRY, "false") || is(crate::IDEMPOTENT_REPLAYED, "true") {
        return false;
    }
    match response.status() {
        StatusCode::CONFLICT => {
            response.headers().contains_key(RETRY_AFTER) || is(crate::STRIPE_SHOULD_RETRY, "true")
        }
        status => matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502..=504),
    }
}

fn retry_after<R>(response: &Response<R>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(seconds.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;
    use tower::{ServiceBuilder, ServiceExt, service_fn};

    use super::*;

    type Tries = Arc<Mutex<Vec<(Option<HeaderValue>, Bytes)>>>;
    type Replies = Vec<Result<http::response::Builder, &'static str>>;

    /// Sends one request to a server with these replies. Returns the last, and what the server saw.
    async fn sent(
        method: Method,
        replies: Replies,
    ) -> (
        Result<StatusCode, &'static str>,
        Vec<(Option<HeaderValue>, Bytes)>,
    ) {
        let tries = Tries::default();
        let replies = Arc::new(Mutex::new(replies.into_iter()));
        let seen = Arc::clone(&tries);
        let server = service_fn(move |request: Request<Bytes>| {
            let key = request.headers().get(crate::IDEMPOTENCY_KEY).cloned();
            seen.lock().unwrap().push((key, request.into_body()));
            let reply = replies.lock().unwrap().next().expect("no more replies");
            async move { reply.map(|reply| reply.body(()).unwrap()) }
        });
        let client = ServiceBuilder::new()
            .layer(MintKey::new())
            .retry(Retries::new())
            .service(server);
        let mut request = Request::new(Bytes::from_static(b"order"));
        *request.method_mut() = method;
        let result = client.oneshot(request).await;
        let tries = tries.lock().unwrap().clone();
        (result.map(|response| response.status()), tries)
    }

    #[expect(clippy::unnecessary_wraps, reason = "beside replies there are errors")]
    fn reply(status: u16) -> Result<http::response::Builder, &'static str> {
        Ok(Response::builder().status(status))
    }

    /// H-61: one key and the same bytes, through everything that is worth a retry.
    #[tokio::test(start_paused = true)]
    async fn every_try_has_the_same_key_and_the_same_bytes() {
        let busy = reply(409).map(|reply| reply.header("retry-after", "2"));
        let replies = vec![Err("refused"), busy, reply(503), reply(500), reply(201)];
        let (result, tries) = sent(Method::POST, replies).await;
        assert_eq!(result, Ok(StatusCode::CREATED));
        assert_eq!(tries.len(), 5);
        assert!(tries[0].0.is_some());
        assert!(tries.iter().all(|a_try| a_try == &tries[0]), "{tries:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_will_not_change_is_not_asked_again() {
        let header = |status, name: &'static str, value: &'static str| {
            reply(status).map(|reply| reply.header(name, value))
        };
        for (name, last) in [
            ("a bad request", reply(400)),
            ("a mismatch", reply(422)),
            ("a conflict that will stay", reply(409)),
            ("a stored 500", header(500, "stripe-should-retry", "false")),
            ("a replayed 500", header(500, "idempotent-replayed", "true")),
            ("too long a wait", header(503, "retry-after", "3600")),
            ("not implemented", reply(501)),
        ] {
            let (result, tries) = sent(Method::POST, vec![last]).await;
            assert!(result.is_ok(), "{name}");
            assert_eq!(tries.len(), 1, "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_failure_is_returned() {
        let replies = (0..5).map(|_| Err("down")).collect();
        let (result, tries) = sent(Method::POST, replies).await;
        assert_eq!(result, Err("down"));
        assert_eq!(tries.len(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_method_that_is_idempotent_needs_no_key() {
        let (result, tries) = sent(Method::PUT, vec![reply(503), reply(200)]).await;
        assert_eq!(result, Ok(StatusCode::OK));
        assert!(tries[0].0.is_none());
    }
}
