//! What a consumer tells of its messages, and counts.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use idempotent_core::Key;

use crate::config::Config;
use crate::outcome::Outcome;

/// Something that became of a message. The names are stable.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// The consumer was told to stop in the middle of it.
    Cancelled,
    /// Its record cannot be read.
    Corrupt,
    /// It had taken effect before.
    Duplicate,
    /// It took effect.
    Executed,
    /// Its handler has failed too often.
    Exhausted,
    /// Its handler has failed.
    Failed,
    /// Another consumer was handling it.
    InProgress,
    /// Another consumer has taken it over.
    LeaseLost,
    /// Another message came before with the same id.
    Mismatch,
    /// It has no id.
    MissingId,
    /// The engine refused to run it.
    Refused,
    /// The broker did not confirm what it was told.
    SettleError,
    /// The store failed.
    StoreError,
    /// An attempt at it had fallen silent, and another one began.
    Takeover,
    /// It took effect, and its result could not be kept.
    Unencodable,
}

impl EventKind {
    /// All kinds, in alphabetical order.
    pub const ALL: [Self; 15] = [
        Self::Cancelled,
        Self::Corrupt,
        Self::Duplicate,
        Self::Executed,
        Self::Exhausted,
        Self::Failed,
        Self::InProgress,
        Self::LeaseLost,
        Self::Mismatch,
        Self::MissingId,
        Self::Refused,
        Self::SettleError,
        Self::StoreError,
        Self::Takeover,
        Self::Unencodable,
    ];

    /// The name, as in events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Corrupt => "corrupt",
            Self::Duplicate => "duplicate",
            Self::Executed => "executed",
            Self::Exhausted => "exhausted",
            Self::Failed => "failed",
            Self::InProgress => "in_progress",
            Self::LeaseLost => "lease_lost",
            Self::Mismatch => "mismatch",
            Self::MissingId => "missing_id",
            Self::Refused => "refused",
            Self::SettleError => "settle_error",
            Self::StoreError => "store_error",
            Self::Takeover => "takeover",
            Self::Unencodable => "unencodable",
        }
    }

    /// Whether somebody should look into it.
    const fn is_warning(self) -> bool {
        match self {
            Self::Corrupt
            | Self::Exhausted
            | Self::LeaseLost
            | Self::Mismatch
            | Self::MissingId
            | Self::Refused
            | Self::SettleError
            | Self::StoreError
            | Self::Unencodable => true,
            Self::Cancelled
            | Self::Duplicate
            | Self::Executed
            | Self::Failed
            | Self::InProgress
            | Self::Takeover => false,
        }
    }

    pub(crate) const fn of<T>(outcome: &Outcome<T>) -> Self {
        match outcome {
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Corrupt(_) => Self::Corrupt,
            Outcome::Duplicate(_) => Self::Duplicate,
            Outcome::Executed(_) => Self::Executed,
            Outcome::Exhausted { .. } => Self::Exhausted,
            Outcome::Failed { .. } => Self::Failed,
            Outcome::InProgress { .. } => Self::InProgress,
            Outcome::LeaseLost => Self::LeaseLost,
            Outcome::Mismatch => Self::Mismatch,
            Outcome::MissingId => Self::MissingId,
            Outcome::Refused(_) => Self::Refused,
            Outcome::StoreUnavailable { .. } => Self::StoreError,
            Outcome::Unencodable => Self::Unencodable,
        }
    }
}

/// How often each kind of event has happened to a consumer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Counts([u64; EventKind::ALL.len()]);

impl Counts {
    /// How often this has happened.
    #[must_use]
    pub const fn of(&self, kind: EventKind) -> u64 {
        self.0[kind as usize]
    }
}

/// Which message something happened to. Nobody is told the id itself, nor the body.
pub(crate) struct Subject<'a> {
    pub(crate) config: &'a Config,
    pub(crate) key: Option<&'a Key>,
    /// What the broker has counted.
    pub(crate) hint: Option<u32>,
}

impl Subject<'_> {
    /// What stands for the message in the engine's events, too.
    fn name(&self) -> String {
        let name = self.key.map(|key| self.config.engine.name_of(key));
        name.unwrap_or_default()
    }
}

/// Counts events, and passes them on.
#[derive(Debug, Default)]
pub(crate) struct Events([AtomicU64; EventKind::ALL.len()]);

impl Events {
    pub(crate) fn emit(&self, kind: EventKind, of: &Subject<'_>, detail: &dyn fmt::Display) {
        self.0[kind as usize].fetch_add(1, Ordering::Relaxed);
        let (name, scope, hint) = (kind.name(), &of.config.scope, of.hint);
        if kind.is_warning() {
            tracing::warn!(target: "idempotency::consumer", scope, key = of.name(), hint, %detail, "{name}");
        } else {
            tracing::debug!(target: "idempotency::consumer", scope, key = of.name(), hint, %detail, "{name}");
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts(self.0.each_ref().map(|count| count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use idempotent_core::{Engine, MemoryStore};

    use super::*;

    /// M59.
    #[test]
    fn each_kind_is_counted_by_itself() {
        let events = Events::default();
        let config = Config::new(Engine::new(MemoryStore::new()), "scope".to_owned());
        let subject = Subject {
            config: &config,
            key: None,
            hint: None,
        };
        for (times, kind) in EventKind::ALL.into_iter().enumerate() {
            for _ in 0..=times {
                events.emit(kind, &subject, &"");
            }
        }
        for (times, kind) in (1..).zip(EventKind::ALL) {
            assert_eq!(events.counts().of(kind), times, "{kind:?}");
        }
    }
}
