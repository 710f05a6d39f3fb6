//! Everything that can be chosen for a consumer, and which choices do not fit together.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use idempotent_core::{BoxError, Engine, Fingerprint, KeyError, OnStoreFailure};

use crate::backoff::Backoff;
use crate::message::{Message, MessageId};
use crate::settle::Capabilities;

/// How many deliveries more than attempts a broker has to allow: for those that are no attempt, such as
/// the ones during an outage of the store.
const DELIVERIES_BESIDE_ATTEMPTS: u32 = 10;
/// How many deliveries may be unsettled at once, where the broker does not say.
const PREFETCH: usize = 32;

pub(crate) type FindId = dyn Fn(&Message) -> Option<MessageId> + Send + Sync;
pub(crate) type Digest = dyn Fn(&Message) -> Result<Fingerprint, BoxError> + Send + Sync;

/// What becomes of a message without an id, or with one that cannot be a key.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum MissingId {
    /// It is put aside.
    #[default]
    DeadLetter,
    /// It is left as it is, and [`Worker::run`](crate::Worker::run) ends with an error.
    Error,
    /// It is handled without protection: each delivery takes effect.
    RunUnprotected,
}

/// What two messages with one id are compared by.
#[derive(Clone)]
pub(crate) enum Compare {
    /// The body, where the producer has chosen the id.
    Body,
    By(Arc<Digest>),
    Nothing,
}

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) backoff: Backoff,
    pub(crate) breaker: u32,
    pub(crate) broker: Capabilities,
    pub(crate) compare: Compare,
    pub(crate) concurrency: usize,
    pub(crate) drain: Duration,
    pub(crate) engine: Engine,
    pub(crate) find_id: Option<Arc<FindId>>,
    pub(crate) handler_timeout: Option<Duration>,
    pub(crate) hold_max: Duration,
    pub(crate) in_progress_wait: Duration,
    pub(crate) lease: Option<Duration>,
    pub(crate) max_attempts: u32,
    pub(crate) missing_id: MissingId,
    pub(crate) on_store_failure: OnStoreFailure,
    pub(crate) queue_ttl: Option<Duration>,
    pub(crate) retention: Duration,
    pub(crate) scope: String,
}

/// Why a consumer cannot be built, or cannot consume from a broker.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No attempt is allowed.
    #[error("a maximum of 0 attempts: use 1 or more")]
    Attempts,
    /// Messages would be acknowledged before they have taken effect.
    #[error("{what} acknowledges messages before they have taken effect; turn it off")]
    AutoAck {
        /// The setting.
        what: &'static str,
    },
    /// More handlers than deliveries, or none.
    #[error("{concurrency} handlers at once, with {prefetch} deliveries: use 1 to {prefetch}")]
    Concurrency {
        /// How many handlers were asked for.
        concurrency: usize,
        /// How many deliveries there can be.
        prefetch: usize,
    },
    /// Nobody has said that the broker keeps dead letters, and it may delete them.
    #[error(
        "{broker} may delete a message that is put aside: declare where it goes and say so, or name \
         a place to publish it to"
    )]
    DeadLetters {
        /// Which broker.
        broker: &'static str,
    },
    /// The lease would outlive the delivery, and the broker hand the message to somebody else.
    #[error(
        "a lease of {lease:?} outlives a delivery, which the broker gives {visibility:?}: use less"
    )]
    Lease {
        /// The lease.
        lease: Duration,
        /// How long a delivery may stay unsettled.
        visibility: Duration,
    },
    /// The broker gives messages up before the consumer does, and tells nobody.
    #[error(
        "the broker gives a message up after {deliveries} deliveries: allow {least} or more, or any \
         number"
    )]
    MaxDeliver {
        /// What the broker allows.
        deliveries: u32,
        /// What it has to allow.
        least: u32,
    },
    /// The broker may deliver nothing.
    #[error("a prefetch of 0: use 1 or more")]
    Prefetch,
    /// A record would be forgotten before the broker delivers its message for the last time.
    #[error(
        "a retention of {retention:?} is too short: a message can come again after {horizon:?}"
    )]
    Retention {
        /// The retention.
        retention: Duration,
        /// When the message can come for the last time.
        horizon: Duration,
    },
    /// The scope cannot be one.
    #[error("the scope cannot be used")]
    Scope(#[from] KeyError),
}

impl Config {
    pub(crate) fn new(engine: Engine, scope: String) -> Self {
        Self {
            backoff: Backoff::default(),
            breaker: 5,
            broker: Capabilities::default(),
            compare: Compare::Body,
            concurrency: 16,
            drain: Duration::from_secs(30),
            engine,
            find_id: None,
            handler_timeout: None,
            hold_max: Duration::from_secs(30),
            in_progress_wait: Duration::from_secs(2),
            lease: None,
            max_attempts: 10,
            missing_id: MissingId::default(),
            on_store_failure: OnStoreFailure::default(),
            queue_ttl: None,
            retention: Duration::from_secs(7 * 24 * 60 * 60),
            scope,
        }
    }

    /// Whether all of this fits together, and fits `broker`.
    pub(crate) fn check(&self, broker: &Capabilities) -> Result<(), ConfigError> {
        self.check_numbers(broker)?;
        if let Some(visibility) = broker.visibility {
            let lease = self.lease(broker);
            if lease >= visibility {
                return Err(ConfigError::Lease { lease, visibility });
            }
        }
        let (retention, horizon) = (self.retention, self.horizon(broker));
        if retention < horizon {
            return Err(ConfigError::Retention { retention, horizon });
        }
        let least = self.max_attempts.saturating_add(DELIVERIES_BESIDE_ATTEMPTS);
        match broker.max_deliver {
            Some(deliveries) if deliveries < least => {
                Err(ConfigError::MaxDeliver { deliveries, least })
            }
            _ => Ok(()),
        }
    }

    fn check_numbers(&self, broker: &Capabilities) -> Result<(), ConfigError> {
        let (concurrency, prefetch) = (self.concurrency, prefetch(broker));
        if self.max_attempts == 0 {
            return Err(ConfigError::Attempts);
        }
        if prefetch == 0 {
            return Err(ConfigError::Prefetch);
        }
        if !(1..=prefetch).contains(&concurrency) {
            return Err(ConfigError::Concurrency {
                concurrency,
                prefetch,
            });
        }
        Ok(())
    }

    /// The lease for messages of `broker`: half of what a delivery may take, if nothing was chosen.
    pub(crate) fn lease(&self, broker: &Capabilities) -> Duration {
        let half = broker.visibility.map(|visibility| visibility / 2);
        let lease = self.lease.or(half);
        lease.unwrap_or(Duration::from_secs(30))
    }

    /// When a message can come for the last time, as far as is known; at least a minute.
    fn horizon(&self, broker: &Capabilities) -> Duration {
        let attempts = self.backoff.cap.saturating_mul(self.max_attempts);
        let kept = self.queue_ttl.max(broker.max_age).unwrap_or_default();
        attempts.saturating_add(kept).max(Duration::from_secs(60))
    }

    /// What works, and is probably not what was meant.
    pub(crate) fn warning(&self, broker: &Capabilities) -> Option<String> {
        let limit = broker.consumer_timeout?;
        let longest = self.handler_timeout?;
        (longest >= limit).then(|| {
            format!(
                "a handler may take {longest:?}, and the broker closes the channel after {limit:?}"
            )
        })
    }
}

/// How many deliveries of `broker` may be unsettled at once.
pub(crate) fn prefetch(broker: &Capabilities) -> usize {
    broker.prefetch.unwrap_or(PREFETCH)
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("scope", &self.scope)
            .field("engine", &self.engine)
            .field("lease", &self.lease)
            .field("max_attempts", &self.max_attempts)
            .field("concurrency", &self.concurrency)
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}
