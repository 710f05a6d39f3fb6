//! Everything that can be chosen for a layer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderName, Method};
use idempotent_core::{Engine, OnAbandoned, OnConflict, OnPanic, OnStoreFailure};

use crate::fingerprint::RequestFingerprint;
use crate::key::{KeyRules, KeySource};
use crate::policy::{Recording, StatusPolicy};
use crate::render::{Problems, Render};
use crate::scope::{Callers, KeyScope};
use crate::stored::KeptHeaders;

/// What a request without a key gets.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum MissingKey {
    /// A key of the layer's own, a random UUID, which the response carries. The request is protected
    /// from nothing but the death of its process, so that it can be seen in the store.
    Mint,
    /// No protection: the handler runs.
    #[default]
    Pass,
    /// 400, and the handler does not run.
    Refuse,
}

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) callers: Callers,
    pub(crate) deferred_begin: bool,
    pub(crate) echoes_key: bool,
    pub(crate) engine: Engine,
    pub(crate) fingerprint: RequestFingerprint,
    pub(crate) kept_headers: KeptHeaders,
    pub(crate) key_scope: KeyScope,
    pub(crate) lease: Duration,
    pub(crate) max_request_body: usize,
    pub(crate) max_response_body: usize,
    pub(crate) methods: Vec<Method>,
    pub(crate) missing: MissingKey,
    pub(crate) namespace: String,
    pub(crate) on_abandoned: OnAbandoned,
    pub(crate) on_conflict: OnConflict,
    pub(crate) on_panic: OnPanic,
    pub(crate) on_store_failure: OnStoreFailure,
    pub(crate) render: Arc<dyn Render>,
    pub(crate) replayed: Option<HeaderName>,
    pub(crate) rules: KeyRules,
    pub(crate) skip: Option<Arc<Skip>>,
    pub(crate) source: KeySource,
    pub(crate) statuses: StatusPolicy,
    pub(crate) tells_stripe: bool,
    pub(crate) ttl: Duration,
    pub(crate) unstorable: Recording,
    pub(crate) upload_timeout: Duration,
}

type Skip = dyn Fn(&Parts) -> bool + Send + Sync;

impl Config {
    pub(crate) fn new(engine: Engine, callers: Callers) -> Self {
        Self {
            callers,
            deferred_begin: false,
            echoes_key: false,
            engine,
            fingerprint: RequestFingerprint::default(),
            kept_headers: KeptHeaders::default(),
            key_scope: KeyScope::default(),
            lease: Duration::from_secs(60),
            max_request_body: 1024 * 1024,
            max_response_body: 1024 * 1024,
            methods: vec![Method::POST, Method::PATCH],
            missing: MissingKey::default(),
            namespace: "http".to_owned(),
            on_abandoned: OnAbandoned::default(),
            on_conflict: OnConflict::Fail,
            on_panic: OnPanic::Release,
            on_store_failure: OnStoreFailure::default(),
            render: Arc::new(Problems::new()),
            replayed: Some(crate::IDEMPOTENT_REPLAYED),
            rules: KeyRules::default(),
            skip: None,
            source: KeySource::header(crate::IDEMPOTENCY_KEY),
            statuses: StatusPolicy::default(),
            tells_stripe: false,
            ttl: Duration::from_secs(24 * 60 * 60),
            unstorable: Recording::Tombstone,
            upload_timeout: Duration::from_secs(30),
        }
    }

    /// Whether a request is this layer's business at all.
    pub(crate) fn takes(&self, parts: &Parts) -> bool {
        if let Some(skip) = &self.skip
            && skip(parts)
        {
            return false;
        }
        self.methods.contains(&parts.method) && !parts.headers.contains_key(http::header::UPGRADE)
    }

    /// The scope of the record: the operation's name, as core has it.
    pub(crate) fn operation(&self, parts: &Parts) -> String {
        match self.key_scope {
            KeyScope::Principal => self.namespace.clone(),
            KeyScope::PrincipalAndOperation => {
                let route = crate::route::template(parts);
                format!("{} {} {route}", self.namespace, parts.method)
            }
        }
    }

    /// The largest record that a response within its limit can make, in bytes.
    pub(crate) const fn max_result(&self) -> usize {
        const HEADERS: usize = 128 * 1024;
        (self.max_response_body / 3 + 1)
            .saturating_mul(4)
            .saturating_add(HEADERS)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyLayer")
            .field("engine", &self.engine)
            .field("methods", &self.methods)
            .field("source", &self.source)
            .field("missing", &self.missing)
            .field("namespace", &self.namespace)
            .field("lease", &self.lease)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}
