use std::fmt::{self, Write as _};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::key::Key;
use crate::lease::Owner;

/// Something that the engine, or a purger, did or met. The names are stable, and the metrics' too.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// Another attempt is in progress, and the caller did not wait, or not long enough.
    Conflict,
    /// The steps of an operation are not those that are recorded: it was stopped.
    Diverged,
    /// A late attempt finished after another one had taken over: the effect may have happened twice.
    DoubleExecution,
    /// The operation ran.
    Executed,
    /// A record is in doubt.
    InDoubt,
    /// A running attempt lost its lease, or can no longer be sure of it.
    LeaseLost,
    /// The key was used before with other arguments.
    Mismatch,
    /// A record is parked: nothing runs until somebody has looked at it.
    Parked,
    /// A purge failed, and its run ended.
    PurgeFailed,
    /// A purge has removed [records](Event::records).
    Purged,
    /// A message could not be sent, and was put back into its outbox.
    RelayFailed,
    /// A recorded result was returned.
    Replayed,
    /// A completer calls an operation that nobody has called again.
    Resumed,
    /// A step was dropped in the middle of its run, and the operation went on.
    StepAbandoned,
    /// A store call failed.
    StoreError,
    /// An attempt that is not the first begins.
    Takeover,
    /// The operation runs without protection.
    Unprotected,
    /// The operation ran, and its result could not be recorded in time.
    Unrecorded,
    /// The call waited for another attempt.
    Waited,
    /// In shadow mode, the operation ran where a result would have been replayed.
    WouldReplay,
}

impl EventKind {
    /// The name, as in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Diverged => "diverged",
            Self::DoubleExecution => "double_execution",
            Self::Executed => "executed",
            Self::InDoubt => "in_doubt",
            Self::LeaseLost => "lease_lost",
            Self::Mismatch => "mismatch",
            Self::Parked => "parked",
            Self::PurgeFailed => "purge_failed",
            Self::Purged => "purged",
            Self::RelayFailed => "relay_failed",
            Self::Replayed => "replayed",
            Self::Resumed => "resumed",
            Self::StepAbandoned => "step_abandoned",
            Self::StoreError => "store_error",
            Self::Takeover => "takeover",
            Self::Unprotected => "unprotected",
            Self::Unrecorded => "unrecorded",
            Self::Waited => "waited",
            Self::WouldReplay => "would_replay",
        }
    }

    /// Whether somebody should look into it.
    const fn is_warning(self) -> bool {
        match self {
            Self::Diverged
            | Self::DoubleExecution
            | Self::InDoubt
            | Self::LeaseLost
            | Self::Parked
            | Self::PurgeFailed
            | Self::RelayFailed
            | Self::StepAbandoned
            | Self::StoreError
            | Self::Unprotected
            | Self::Unrecorded => true,
            Self::Conflict
            | Self::Executed
            | Self::Mismatch
            | Self::Purged
            | Self::Replayed
            | Self::Resumed
            | Self::Takeover
            | Self::Waited
            | Self::WouldReplay => false,
        }
    }
}

/// An event, and where it happened. It never carries arguments, results or the key itself.
#[derive(Clone, Copy)]
pub struct Event<'a> {
    kind: EventKind,
    scope: &'a str,
    key: Option<&'a Key>,
    detail: &'a dyn fmt::Display,
    records: usize,
    events: &'a Events,
}

impl Event<'_> {
    /// What happened.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        self.kind
    }

    /// The operation's scope; empty for a purge.
    #[must_use]
    pub const fn scope(&self) -> &str {
        self.scope
    }

    /// How many records are gone by a purge; 0 for every other event.
    #[must_use]
    pub const fn records(&self) -> usize {
        self.records
    }

    /// What there is to say beside it; may be empty. Not stable.
    #[must_use]
    pub fn detail(&self) -> String {
        self.detail.to_string()
    }

    /// What stands for the key: 16 hexadecimal digits of a keyed SHA-256, the same for each event of
    /// one key in this engine; the key itself if the engine was told to; empty without a key.
    #[must_use]
    pub fn key(&self) -> String {
        self.key
            .map(|key| self.events.name(key))
            .unwrap_or_default()
    }
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("kind", &self.kind)
            .field("scope", &self.scope)
            .field("key", &self.key())
            .field("records", &self.records)
            .field("detail", &self.detail())
            .finish()
    }
}

/// Whoever wants to know of events: an application's own counters, or a test.
///
/// Called in the middle of a call, so it must not block. Implemented for closures.
pub trait Observer: Send + Sync + 'static {
    /// Takes note of `event`.
    fn on_event(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync + 'static> Observer for F {
    fn on_event(&self, event: &Event<'_>) {
        self(event);
    }
}

/// Where events go.
#[derive(Clone)]
pub(crate) struct Events {
    pub(crate) observer: Option<Arc<dyn Observer>>,
    /// The secret under which keys are named; `None` to show the keys.
    pub(crate) secret: Option<Owner>,
}

impl Events {
    /// Those of whoever has no keys, and no observer.
    pub(crate) const fn none() -> Self {
        Self {
            observer: None,
            secret: None,
        }
    }

    pub(crate) fn emit(
        &self,
        kind: EventKind,
        scope: &str,
        key: Option<&Key>,
        detail: &dyn fmt::Display,
    ) {
        self.tell(&Event {
            kind,
            scope,
            key,
            detail,
            records: 0,
            events: self,
        });
    }

    /// A purge of `store` has removed so many `records`.
    pub(crate) fn purged(&self, store: &'static str, records: usize) {
        #[cfg(feature = "metrics")]
        metrics::counter!("idempotency_purged_records_total", "store" => store)
            .increment(records.try_into().unwrap_or(u64::MAX));
        self.tell(&Event {
            kind: EventKind::Purged,
            scope: "",
            key: None,
            detail: &format_args!("{store}: {records} records"),
            records,
            events: self,
        });
    }

    fn tell(&self, event: &Event<'_>) {
        trace(event);
        #[cfg(feature = "metrics")]
        metrics::counter!(
            "idempotency_events_total",
            "event" => event.kind.name(), "scope" => event.scope.to_owned()
        )
        .increment(1);
        if let Some(observer) = &self.observer {
            observer.on_event(event);
        }
    }

    pub(crate) fn name(&self, key: &Key) -> String {
        let Some(secret) = &self.secret else {
            return key.as_str().to_owned();
        };
        let digest = Sha256::new()
            .chain_update(secret.as_bytes())
            .chain_update(key.as_str());
        digest.finalize()[..8]
            .iter()
            .fold(String::new(), |mut name, byte| {
                _ = write!(name, "{byte:02x}");
                name
            })
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("observed", &self.observer.is_some())
            .field("shows_keys", &self.secret.is_none())
            .finish()
    }
}

fn trace(event: &Event<'_>) {
    let (name, scope) = (event.kind.name(), event.scope);
    if event.kind.is_warning() {
        tracing::warn!(target: "idempotency", scope, key = %event.key(), detail = %event.detail, "{name}");
    } else {
        tracing::debug!(target: "idempotency", scope, key = %event.key(), detail = %event.detail, "{name}");
    }
}
