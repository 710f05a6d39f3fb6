//! The `Idempotency-Key` header of HTTP, as a tower layer.

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
