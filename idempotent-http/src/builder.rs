use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderName, Method};
use idempotent_core::__private::DURATIONS;
use idempotent_core::{Engine, OnAbandoned, OnConflict, OnPanic, OnStoreFailure};

use crate::config::{Config, MissingKey};
use crate::fingerprint::RequestFingerprint;
use crate::key::{KeySource, KeySyntax, LONGEST};
use crate::layer::IdempotencyLayer;
use crate::policy::{Recording, StatusPolicy};
use crate::render::Render;
use crate::scope::{Callers, KeyScope, Scope};

/// A layer that does not know yet whose keys it sees.
///
/// There is no default, because a wrong one lets a caller read another's responses.
#[must_use]
#[derive(Debug)]
pub struct NeedsScope {
    pub(crate) engine: Engine,
}

impl NeedsScope {
    /// Finds the caller of a request, who owns its key, mostly by what the layer that authenticates has
    /// put into the request's extensions. `None` is a 500, and the handler does not run.
    pub fn scope(
        self,
        caller: impl Fn(&Parts) -> Option<Scope> + Send + Sync + 'static,
    ) -> Builder {
        Builder(Config::new(self.engine, Callers::By(Arc::new(caller))))
    }

    /// Lets all callers share their keys, and so their responses: for a service with one caller, and for
    /// webhooks, whose keys are the sender's.
    pub fn unscoped(self) -> Builder {
        Builder(Config::new(self.engine, Callers::All))
    }
}

/// The choices for an [`IdempotencyLayer`]. Each has a default that is named at its method.
#[must_use]
pub struct Builder(pub(crate) Config);

/// Why a layer cannot be built.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A duration is out of range.
    #[error("the {what} of {value:?} is out of range; use 1 ms to 30 years")]
    Duration {
        /// `lease` or `ttl`.
        what: &'static str,
        /// The refused value.
        value: Duration,
    },
    /// A key can be of no length that is allowed.
    #[error("keys of {least} to {most} characters: use a range within 1 to 255")]
    KeyLengths {
        /// The fewest.
        least: usize,
        /// The most.
        most: usize,
    },
    /// The method is safe, so that its requests can be repeated as they are; or it is no request for
    /// something to be done.
    #[error("requests with the method {0} need no key; leave it out")]
    Method(Method),
    /// There is no method.
    #[error("no methods: the layer would protect nothing")]
    NoMethods,
}

impl Builder {
    /// Which methods are protected: POST and PATCH. PUT and DELETE may be.
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.0.methods = methods.into_iter().collect();
        self
    }

    /// Passes requests by for which `skip` is true.
    pub fn skip(mut self, skip: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.0.skip = Some(Arc::new(skip));
        self
    }

    /// What becomes of a request without a key: it passes unprotected.
    pub const fn on_missing_key(mut self, missing: MissingKey) -> Self {
        self.0.missing = missing;
        self
    }

    /// Where the key stands: in the header `Idempotency-Key`.
    pub fn key_source(mut self, source: KeySource) -> Self {
        self.0.source = source;
        self
    }

    /// How the header is written: leniently.
    pub const fn key_syntax(mut self, syntax: KeySyntax) -> Self {
        self.0.rules.syntax = syntax;
        self
    }

    /// How many characters a key may have: 1 to 255.
    pub const fn key_lengths(mut self, lengths: RangeInclusive<usize>) -> Self {
        self.0.rules.lengths = lengths;
        self
    }

    /// Takes only keys with the shape of a UUID, of any version.
    pub const fn uuid_keys(mut self) -> Self {
        self.0.rules.is_uuid = true;
        self
    }

    /// Takes only keys that `is_valid` likes.
    pub fn valid_keys(mut self, is_valid: fn(&str) -> bool) -> Self {
        self.0.rules.is_valid = Some(is_valid);
        self
    }

    /// What a caller's key is good for: one request, wherever it goes.
    pub const fn key_scope(mut self, key_scope: KeyScope) -> Self {
        self.0.key_scope = key_scope;
        self
    }

    /// The name of this layer's part of the store: `http`. Services that share a store need different
    /// ones. It is also the `scope` of core's events and metrics.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.0.namespace = namespace.into();
        self
    }

    /// What a retry is compared by: method, path, query and the bytes of the body.
    pub fn fingerprint(mut self, fingerprint: RequestFingerprint) -> Self {
        self.0.fingerprint = fingerprint;
        self
    }

    /// The largest request body, in bytes: 1 MiB. A larger one is refused with 413, never let through
    /// unprotected. It is read into memory before the key is claimed, so that a client which goes away
    /// in the middle leaves nothing behind.
    pub const fn max_request_body(mut self, bytes: usize) -> Self {
        self.0.max_request_body = bytes;
        self
    }

    /// How long a request's body may take to come: 30 s.
    pub const fn upload_timeout(mut self, timeout: Duration) -> Self {
        self.0.upload_timeout = timeout;
        self
    }

    /// The largest response body that is kept, in bytes: 1 MiB.
    pub const fn max_response_body(mut self, bytes: usize) -> Self {
        self.0.max_response_body = bytes;
        self
    }

    /// What becomes of a response that is larger, or a stream of events: a [`Recording::Tombstone`]. The
    /// client gets the whole of it in either case.
    pub const fn on_large_response(mut self, recording: Recording) -> Self {
        self.0.unstorable = recording;
        self
    }

    /// Which responses are kept: [`StatusPolicy::answers`].
    pub fn statuses(mut self, statuses: StatusPolicy) -> Self {
        self.0.statuses = statuses;
        self
    }

    /// Keeps only responses of handlers that have called
    /// [`begin`](crate::IdempotencyContext::begin): what refuses a request before that, such as an
    /// extractor, frees the key.
    pub const fn deferred_begin(mut self) -> Self {
        self.0.deferred_begin = true;
        self
    }

    /// Keeps a header that is left out otherwise, such as `Set-Cookie`. Think of who may send the retry.
    pub fn keep_header(mut self, name: &HeaderName) -> Self {
        self.0.kept_headers.keep(name);
        self
    }

    /// Leaves a header out of what is kept: one with a request's own number, say.
    pub fn drop_header(mut self, name: HeaderName) -> Self {
        self.0.kept_headers.drop(name);
        self
    }

    /// What a request gets while another with its key is being handled: 409. `Wait` lets it wait for that
    /// one's response.
    pub const fn on_conflict(mut self, on_conflict: OnConflict) -> Self {
        self.0.on_conflict = on_conflict;
        self
    }

    /// What follows a request whose process died: the next one runs, and can see that it is not the
    /// first. `InDoubt` refuses it with 409 instead: at most once.
    pub const fn on_abandoned(mut self, on_abandoned: OnAbandoned) -> Self {
        self.0.on_abandoned = on_abandoned;
        self
    }

    /// What becomes of the key if the handler panics: it is free again.
    pub const fn on_panic(mut self, on_panic: OnPanic) -> Self {
        self.0.on_panic = on_panic;
        self
    }

    /// What happens while the store is down: 503, and the handler does not run. `RunUnprotected` runs
    /// it, and says `Idempotency-Stored: false`.
    pub const fn on_store_failure(mut self, on_store_failure: OnStoreFailure) -> Self {
        self.0.on_store_failure = on_store_failure;
        self
    }

    /// How long a claim holds without being renewed: 60 s. It is renewed every third of that while the
    /// handler runs, so it is how long a key stays blocked after a crash.
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.0.lease = lease;
        self
    }

    /// How long a response is kept, from its completion: 24 h. After that the key is as new.
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.0.ttl = ttl;
        self
    }

    /// Which header marks a replay, with the value `true`: `Idempotent-Replayed`. `None` for no mark.
    pub fn replayed_header(mut self, name: Option<HeaderName>) -> Self {
        self.0.replayed = name;
        self
    }

    /// Returns the key in a header `Idempotency-Key` of every response, or in the header that it came in.
    pub const fn echo_key(mut self) -> Self {
        self.0.echoes_key = true;
        self
    }

    /// How the layer's own answers look: [`Problems`](crate::Problems).
    pub fn render(mut self, render: impl Render) -> Self {
        self.0.render = Arc::new(render);
        self
    }

    /// The layer.
    ///
    /// # Errors
    ///
    /// If what was chosen makes no sense: see [`ConfigError`].
    pub fn build(self) -> Result<IdempotencyLayer, ConfigError> {
        let config = self.0;
        check_methods(&config.methods)?;
        check_duration("lease", config.lease)?;
        check_duration("ttl", config.ttl)?;
        let (least, most) = (*config.rules.lengths.start(), *config.rules.lengths.end());
        if least == 0 || most > LONGEST || least > most {
            return Err(ConfigError::KeyLengths { least, most });
        }
        Ok(IdempotencyLayer::new(config))
    }
}

fn check_methods(methods: &[Method]) -> Result<(), ConfigError> {
    if methods.is_empty() {
        return Err(ConfigError::NoMethods);
    }
    let refused = |method: &&Method| method.is_safe() || **method == Method::CONNECT;
    match methods.iter().find(refused) {
        Some(method) => Err(ConfigError::Method(method.clone())),
        None => Ok(()),
    }
}

fn check_duration(what: &'static str, value: Duration) -> Result<(), ConfigError> {
    if DURATIONS.contains(&value) {
        return Ok(());
    }
    Err(ConfigError::Duration { what, value })
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Builder").field(&self.0).finish()
    }
}
