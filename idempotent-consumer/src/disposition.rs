//! What the broker is told.

use std::fmt;
use std::time::Duration;

/// What becomes of a delivery.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Disposition {
    /// The message has taken effect, now or before.
    Ack,
    /// It will not take effect as it is, and somebody has to look at it.
    DeadLetter(Reason),
    /// It is left as it is: the broker delivers it again when this consumer is gone.
    Leave,
    /// It comes again.
    Retry {
        /// No sooner than this.
        after: Duration,
        /// Whether its handler has failed. The broker's own limit must not count what has not.
        counted: bool,
    },
}

/// Why a message was put aside.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Reason {
    /// In a word.
    pub kind: ReasonKind,
    /// How often its handler has failed.
    pub failures: u32,
    /// The last error, with its causes.
    pub error: Option<String>,
}

/// Why a message was put aside, in a word.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ReasonKind {
    /// Its record cannot be read.
    Corrupt,
    /// Its handler has failed too often.
    Exhausted,
    /// Another message came before with the same id.
    Mismatch,
    /// It has no id, or one that cannot be a key.
    MissingId,
    /// Its handler says that it will never succeed.
    Permanent,
}

impl Reason {
    pub(crate) const fn new(kind: ReasonKind) -> Self {
        Self {
            kind,
            failures: 0,
            error: None,
        }
    }

    /// What a copy of the message carries in its headers, beside its own.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            (REASON_HEADER, self.kind.name().to_owned()),
            (FAILURES_HEADER, self.failures.to_string()),
        ];
        headers.extend(self.error.clone().map(|error| (ERROR_HEADER, error)));
        headers
    }
}

/// The header of a dead letter that says [why](ReasonKind::name) it is one.
pub const REASON_HEADER: &str = "idempotency-reason";
/// The header of a dead letter that says how often its handler has failed.
pub const FAILURES_HEADER: &str = "idempotency-failures";
/// The header of a dead letter that holds the last error.
pub const ERROR_HEADER: &str = "idempotency-error";
/// The header of a dead letter that holds the message's id, where the copy needs one of its own.
pub const ID_HEADER: &str = "idempotency-message-id";

impl ReasonKind {
    /// The name, as in headers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Corrupt => "corrupt",
            Self::Exhausted => "exhausted",
            Self::Mismatch => "mismatch",
            Self::MissingId => "missing_id",
            Self::Permanent => "permanent",
        }
    }
}

impl fmt::Display for ReasonKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
