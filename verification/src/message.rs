//! What a worker is told, and what it says: one JSON document to a line.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a worker is told on its standard input.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    /// Call the function.
    Call(Order),
    /// Let the body of this call go on, which has said [`Said::At`].
    Go(u64),
}

/// One call of the function.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Names the call in what the worker says.
    pub(crate) call: u64,
    pub(crate) key: String,
    /// How long the body waits before its effect, and after it.
    pub(crate) before: Duration,
    pub(crate) after: Duration,
    /// Where the body says where it is, and waits to be let go on.
    pub(crate) hook: Option<Point>,
    /// Whether nothing else in its process runs while it waits there.
    pub(crate) blocks: bool,
    /// Where the body returns an error.
    pub(crate) fails: Option<Point>,
    /// Whether the function returns an `Outcome`, which tells how its value came about.
    pub(crate) told: bool,
    /// How long the result is kept.
    pub(crate) ttl: Duration,
    /// How long the caller waits for the transaction of another.
    pub(crate) wait: Duration,
    /// For how long the server lets the body's transaction be idle before it ends it.
    pub(crate) idle: Option<Duration>,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            call: 0,
            key: String::new(),
            before: Duration::ZERO,
            after: Duration::ZERO,
            hook: None,
            blocks: false,
            fails: None,
            told: false,
            ttl: Duration::from_secs(24 * 60 * 60),
            wait: Duration::from_secs(30),
            idle: None,
        }
    }
}

/// A point in the body.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum Point {
    BeforeEffect,
    AfterEffect,
}

/// What a worker says on its standard output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    /// It can be told something.
    Ready,
    /// The body of this call is where its order has a hook.
    At(u64),
    /// The call has returned.
    Answered(u64, Answer),
}

/// What a call has returned.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// A value, without a mark where the function returns none.
    Value(String, Option<Mark>),
    /// Nobody knows whether the transaction was committed, for this reason.
    CommitUnknown(String),
    /// The body's own error.
    Declined,
    InDoubt,
    InProgress,
    LeaseLost(Option<String>),
    /// The transaction was rolled back, for this reason: nothing of the call counts.
    RolledBack(String),
    /// The store failed before the body, for this reason.
    Store(String),
    /// The store failed after the body.
    Unrecorded(Option<String>),
    /// Anything else, which no chaos justifies.
    Unexpected(String),
}

/// How a value came about, according to its `Outcome`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum Mark {
    Executed(u32),
    Replayed,
    Unprotected,
    Unrecorded,
}

impl Answer {
    /// The value that the caller may rely on, if there is one: returned, and not marked otherwise.
    pub(crate) fn value(&self) -> Option<&str> {
        match self {
            Self::Value(value, None | Some(Mark::Executed(_) | Mark::Replayed)) => Some(value),
            _ => None,
        }
    }

    /// What kind of answer it is, for counting.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Value(_, None) => "a value",
            Self::Value(_, Some(Mark::Executed(_))) => "executed",
            Self::Value(_, Some(Mark::Replayed)) => "replayed",
            Self::Value(_, Some(Mark::Unprotected)) => "marked unprotected",
            Self::Value(_, Some(Mark::Unrecorded)) => "marked unrecorded",
            Self::CommitUnknown(_) => "commit unknown",
            Self::Declined => "the body's error",
            Self::InDoubt => "in doubt",
            Self::InProgress => "in progress",
            Self::LeaseLost(_) => "lease lost",
            Self::RolledBack(_) => "rolled back",
            Self::Store(_) => "store failed before the body",
            Self::Unrecorded(_) => "error: unrecorded",
            Self::Unexpected(_) => "unexpected",
        }
    }
}
