use std::time::Duration;

use idempotent_core::StoreError;
use redis::{ErrorKind, ParsingError, RedisError, ServerErrorKind};

use crate::text::Unreadable;

/// What can go wrong between this crate and a server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the record came and went while it was written anew")]
    ComesAndGoes,
    #[error("the {what} of {value:?} is out of range; use 1 ms to 31 years")]
    Duration { what: &'static str, value: Duration },
    #[error("redis evicts records under `{policy}`; set `maxmemory-policy noeviction`")]
    Evicts { policy: String },
    #[error("{have} replicas have the record, and {needed} are needed")]
    NotReplicated { needed: u64, have: u64 },
    #[error("the server is of version {version}, and 7.0 is needed")]
    Old { version: String },
    #[error("the page to go on from is not one of this store's")]
    Page,
    #[error("the server refused or failed")]
    Redis(#[from] RedisError),
    #[error("the server answered with something that was not asked for")]
    Reply,
    #[error("the server did not confirm in time")]
    Timeout,
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("this version of the store does not know the operation")]
    Unsupported,
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        match error {
            Error::ComesAndGoes | Error::NotReplicated { .. } | Error::Timeout => {
                Self::Unavailable(error.into())
            }
            Error::Duration { .. } | Error::Page | Error::Reply | Error::Unsupported => {
                Self::Backend(error.into())
            }
            Error::Evicts { .. } | Error::Old { .. } => Self::Misconfigured(error.into()),
            Error::Redis(error) => match meaning(&error) {
                Meaning::Corrupt => Self::Corrupt(error.into()),
                Meaning::Full => Self::Full(error.into()),
                Meaning::Permanent => Self::Backend(error.into()),
                Meaning::Transient => Self::Unavailable(error.into()),
            },
            Error::Unreadable(Unreadable::Newer(format)) => Self::Incompatible { format },
            Error::Unreadable(Unreadable::Damaged | Unreadable::Foreign) => {
                Self::Corrupt(error.into())
            }
        }
    }
}

impl From<ParsingError> for Error {
    fn from(_: ParsingError) -> Self {
        Self::Reply
    }
}

/// Whether the server refuses writes, and may still be able to answer from what it has.
pub(crate) fn refuses_writes(error: &RedisError) -> bool {
    matches!(
        error.code(),
        Some("MISCONF" | "NOREPLICAS" | "OOM" | "READONLY")
    )
}

enum Meaning {
    Corrupt,
    Full,
    Permanent,
    Transient,
}

fn meaning(error: &RedisError) -> Meaning {
    match error.kind() {
        // A reply that cannot be parsed means that the connection is out of step.
        ErrorKind::ClusterConnectionNotFound
        | ErrorKind::Io
        | ErrorKind::MasterNameNotFoundBySentinel
        | ErrorKind::NoValidReplicasFoundBySentinel
        | ErrorKind::Parse
        | ErrorKind::Server(
            ServerErrorKind::Ask
            | ServerErrorKind::BusyLoading
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::Moved
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::TryAgain,
        ) => Meaning::Transient,
        // Codes that the driver has no kind for.
        ErrorKind::Extension => match error.code() {
            Some("BUSY" | "MISCONF" | "NOREPLICAS") => Meaning::Transient,
            Some("OOM") => Meaning::Full,
            Some("WRONGTYPE") => Meaning::Corrupt,
            _ => Meaning::Permanent,
        },
        _ => Meaning::Permanent,
    }
}
