//! The `Idempotency-Key` header of HTTP, as a tower layer.
//!
//! Clients retry a POST when its answer is lost, and the order is made twice. With this layer a client
//! sends a key of its own along; the request with a new key is handled, and every later one with the same
//! key gets the first one's response, as at Stripe. It works with axum, hyper, and whatever else is a
//! tower service of `http` requests, over each store of `idempotency`.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use idempotent_core::{Engine, MemoryStore};
//! use idempotent_http::{Body, IdempotencyLayer, Scope};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! /// What the layer that authenticates has found.
//! #[derive(Clone)]
//! struct Account(String);
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let layer = IdempotencyLayer::builder(Engine::new(MemoryStore::new()))
//!     .scope(|parts| parts.extensions.get().map(|Account(name)| Scope::new(name)))
//!     .build()?;
//! let handler = service_fn(async |_: Request<Body<Full<Bytes>>>| {
//!     Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from("order 1")))
//! });
//! let service = layer.layer(handler);
//!
//! let order = |body: &'static str| {
//!     let request = Request::post("/orders").header("Idempotency-Key", "8e03978e");
//!     request.extension(Account("ann".to_owned())).body(Full::<Bytes>::from(body)).unwrap()
//! };
//! let first = service.clone().oneshot(order("tea")).await?;
//! let retry = service.clone().oneshot(order("tea")).await?;
//! assert_eq!((first.status(), retry.status()), (200.try_into()?, 200.try_into()?));
//! assert_eq!(retry.headers()["idempotent-replayed"], "true");
//!
//! let other = service.oneshot(order("coffee")).await?; // the key of another request
//! assert_eq!(other.status(), 422);
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - Of any number of requests with one key of one caller, one is handled. The others get its response, or
//!   409 while it is being handled; or they [wait](Builder::on_conflict) for it.
//! - A client that has seen a response gets the same again: status, body, and the headers that belong to
//!   the answer. A replay says `Idempotent-Replayed: true`.
//! - A key that comes with another request is refused with 422, and changes nothing.
//! - A client that goes away, by whatever means, does not stop the handler; its retry gets the response.
//! - A caller never gets what belongs to another: whose key it is, is never a default.
//! - Without the store nothing is handled: 503.
//! - A response that is not kept, though the request was handled, says `Idempotency-Stored: false`.
//!
//! # What is not
//!
//! A process that dies in the middle may have made the order. What follows is a
//! [choice](Builder::on_abandoned): the next request runs, and its handler can see in its
//! [`IdempotencyContext`] that it is not the first; or it is refused.
//!
//! Failures are not kept: after a 5xx, a 429 and the like the key is free for the same request, which
//! runs again. [`StatusPolicy`] and [`Recording`] say otherwise.
//!
//! Extensions of a response are not kept. Trailers are. A task-local of the connection's task is not
//! there in the handler, which runs in a task of its own; the current tracing span is, and so are the
//! extensions of the request.
//!
//! # With axum
//!
//! Turn on the feature `axum`: it lets the layer see the path that the client has sent, of which nested
//! routers take their prefix away, and makes [`IdempotencyContext`] an extractor. Use `route_layer`, and
//! mind [the order of layers](IdempotencyLayer#where-it-stands).
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! use axum::Router;
//! use axum::routing::post;
//! use idempotent_core::{Engine, MemoryStore};
//! use idempotent_http::{IdempotencyContext, IdempotencyLayer, MissingKey};
//!
//! async fn create(context: IdempotencyContext) -> String {
//!     format!("attempt {}", context.attempt().number())
//! }
//!
//! # fn router() -> Result<Router, idempotent_http::ConfigError> {
//! let layer = IdempotencyLayer::builder(Engine::new(MemoryStore::new()))
//!     .unscoped() // one caller; else `.scope(..)`
//!     .on_missing_key(MissingKey::Refuse)
//!     .build()?;
//! Ok(Router::new().route("/orders", post(create)).route_layer(layer))
//! # }
//! # router().unwrap();
//! # }
//! ```
//!
//! # Presets
//!
//! [`stripe_v1`](Builder::stripe_v1), [`stripe_v2`](Builder::stripe_v2), [`adyen`](Builder::adyen),
//! [`gocardless`](Builder::gocardless), [`square`](Builder::square), [`paypal`](Builder::paypal) and
//! [`aip_155`](Builder::aip_155) do as these services do;
//! [`stripe_webhooks`](Builder::stripe_webhooks) and [`github_webhooks`](Builder::github_webhooks)
//! receive events, each of them once. Without one, the layer follows
//! draft-ietf-httpapi-idempotency-key-header-07, but takes keys without quotes, too.
//!
//! # Events
//!
//! Those of the engine, under the [namespace](Builder::namespace): `executed`, `replayed`, `mismatch`,
//! `conflict`, `waited`, `takeover`, `lease_lost`, `in_doubt`, `store_error`, `unrecorded`,
//! `unprotected`. The layer's own `tracing` events are `released` and `tombstoned`, of responses that are not
//! kept, and what it answers itself. None holds a key, a caller or a body.
//!
//! # Features
//!
//! - `axum`: an extractor, and the paths that axum's routers match.
//! - `client`: retries on the client's side, with a key for each request.

#![cfg_attr(docsrs_idempotency, feature(doc_cfg))]

mod admit;
mod answer;
#[cfg(feature = "axum")]
mod axum;
mod body;
mod builder;
#[cfg(feature = "client")]
pub mod client;
mod config;
mod context;
mod error;
mod fingerprint;
mod handle;
mod key;
mod layer;
mod policy;
mod presets;
pub mod problems;
mod render;
mod route;
mod scope;
mod service;
mod stored;

use http::HeaderName;

#[cfg(feature = "axum")]
pub use self::axum::NotProtected;
pub use self::body::Body;
pub use self::builder::{Builder, ConfigError, NeedsScope};
pub use self::config::MissingKey;
pub use self::context::IdempotencyContext;
pub use self::error::HttpError;
pub use self::fingerprint::RequestFingerprint;
pub use self::key::{InvalidKey, KeySource, KeySyntax};
pub use self::layer::IdempotencyLayer;
pub use self::policy::{Recording, StatusPolicy};
pub use self::render::{Problems, Render, StripeErrors};
pub use self::scope::{KeyScope, Scope};
pub use self::service::Idempotency;

/// The header that carries the key.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The header that says `false` at a response which is not kept, though the request was handled: a
/// retry will not get it.
pub const IDEMPOTENCY_STORED: HeaderName = HeaderName::from_static("idempotency-stored");

/// The header that says `true` at a response which answered an earlier request.
pub const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

const STRIPE_SHOULD_RETRY: HeaderName = HeaderName::from_static("stripe-should-retry");
