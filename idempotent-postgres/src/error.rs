use std::error::Error as _;
use std::sync::Arc;
use std::{error, io};

use idempotent_core::{BoxError, StoreError};
use tokio_postgres::error::SqlState;

/// What goes wrong between this crate and a server. `From` says what that means to a store's caller.
///
/// A clone goes to each of the callers who shared a try to connect.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the connection could not be made")]
    Connecting(#[source] Arc<tokio_postgres::Error>),

    #[error("others kept changing the record")]
    Contended,

    #[error("the column `{column}` holds what no record has there")]
    Damaged { column: &'static str },

    #[error("the server does not tell of the ends of attempts, because it cannot be reached")]
    Deaf,

    #[error("the tables have version {found}, and this program needs {needed}")]
    OldTable { found: usize, needed: usize },

    #[error("the claim is not in this transaction any more; leave its end to the one who began it")]
    Ended,

    #[error("a duration or a time is too long for PostgreSQL to keep")]
    OutOfRange,

    #[error("the tables have version {0}; upgrade this program to use them")]
    NewerTable(usize),

    #[error("the row has format {0}; upgrade this program to read it")]
    NewerRow(i64),

    #[error("the protocol answered another question")]
    OtherReply,

    #[cfg(feature = "deadpool")]
    #[error("the pool gave no connection")]
    Pool(#[source] Arc<dyn error::Error + Send + Sync>),

    #[error("the server refused or failed")]
    Query(#[source] Arc<tokio_postgres::Error>),

    #[error(transparent)]
    Refused(#[from] Refused),

    #[error("the server answered with something that was not asked for")]
    Reply,

    #[error("the server is a standby, and cannot write")]
    Standby,

    #[cfg(feature = "sqlx")]
    #[error("the server refused or failed")]
    Sqlx(#[source] Arc<sqlx::Error>),

    #[error("the server did not answer in time")]
    Timeout,
}

/// Why options, or a server, are not used.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("`{0}` cannot be a name: use letters, digits and `_`, at most {1}")]
    Name(String, usize),

    #[error("the URL asks for TLS: use the feature `tls-rustls`, or `connect_with`")]
    #[cfg(not(feature = "tls-rustls"))]
    NoTls,

    #[error("no crypto provider is installed for rustls, as by `ring::default_provider()`")]
    #[cfg(feature = "tls-rustls")]
    NoCrypto,

    #[error("the platform has no certificates to check the server's by")]
    #[cfg(feature = "tls-rustls")]
    NoCertificates,

    #[error("the server is of version {0}, and 13 is needed")]
    OldServer(String),

    #[error(
        "the connection changes between statements, as behind PgBouncer: use `behind_pooler(true)`"
    )]
    Pooler(#[source] Arc<tokio_postgres::Error>),

    #[error("the URL cannot be read")]
    Url(#[source] Arc<tokio_postgres::Error>),
}

impl Error {
    pub(crate) fn connecting(error: tokio_postgres::Error) -> Self {
        Self::Connecting(Arc::new(error))
    }

    /// The server's word for what went wrong, if it was the server's.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Connecting(source) | Self::Query(source) => source.code().map(SqlState::code),
            #[cfg(feature = "sqlx")]
            Self::Sqlx(source) => sqlx_code(source),
            _ => None,
        }
    }

    /// Whether the connection is gone, so that nobody knows what became of the statement.
    pub(crate) fn is_lost(&self) -> bool {
        match self {
            Self::Query(source) => {
                source.is_closed()
                    || source
                        .source()
                        .is_some_and(<dyn error::Error>::is::<io::Error>)
                    || source
                        .code()
                        .is_some_and(|code| code.code().starts_with("57P"))
            }
            #[cfg(feature = "sqlx")]
            Self::Sqlx(source) => match sqlx_code(source) {
                Some(code) => code.starts_with("57P"),
                None => matches!(
                    **source,
                    sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed
                ),
            },
            _ => false,
        }
    }

    /// Whether the connection is of no more use, though it is there.
    pub(crate) fn spoils_connection(&self) -> bool {
        let code = self.code();
        matches!(self, Self::Timeout)
            || code == Some(SqlState::READ_ONLY_SQL_TRANSACTION.code())
            // A prepared statement whose table has been changed.
            || code == Some(SqlState::FEATURE_NOT_SUPPORTED.code())
    }

    /// Whether the server gave the statement up, and it has to be judged and run again.
    pub(crate) fn is_conflict(&self) -> bool {
        let code = self.code();
        code == Some(SqlState::T_R_SERIALIZATION_FAILURE.code())
            || code == Some(SqlState::T_R_DEADLOCK_DETECTED.code())
    }

    /// Whether another transaction had the record for too long.
    pub(crate) fn is_lock_timeout(&self) -> bool {
        self.code() == Some(SqlState::LOCK_NOT_AVAILABLE.code())
    }
}

#[cfg(feature = "sqlx")]
fn sqlx_code(error: &sqlx::Error) -> Option<&str> {
    let error = error.as_database_error()?;
    let error = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>()?;
    Some(error.code())
}

#[cfg(feature = "sqlx")]
impl From<sqlx::Error> for Error {
    fn from(source: sqlx::Error) -> Self {
        Self::Sqlx(Arc::new(source))
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(source: tokio_postgres::Error) -> Self {
        let is_pooled = source.code().is_some_and(|code| {
            *code == SqlState::INVALID_SQL_STATEMENT_NAME || *code == SqlState::DUPLICATE_PSTATEMENT
        });
        let source = Arc::new(source);
        if is_pooled {
            Refused::Pooler(source).into()
        } else {
            Self::Query(source)
        }
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        match &error {
            #[cfg(feature = "deadpool")]
            Error::Pool(_) => Self::Unavailable(error.into()),
            Error::Contended | Error::Deaf | Error::Standby | Error::Timeout => {
                Self::Unavailable(error.into())
            }
            Error::Damaged { .. } => Self::Corrupt(error.into()),
            Error::NewerRow(format) => Self::Incompatible {
                format: format.to_string(),
            },
            Error::NewerTable(version) => Self::Incompatible {
                format: format!("table version {version}"),
            },
            Error::OldTable { .. } | Error::Refused(_) => Self::Misconfigured(error.into()),
            Error::Ended | Error::OtherReply | Error::OutOfRange | Error::Reply => {
                Self::Backend(error.into())
            }
            Error::Connecting(_) if error.code().is_none() => Self::Unavailable(error.into()),
            #[cfg(feature = "sqlx")]
            Error::Sqlx(source) if matches!(**source, sqlx::Error::PoolTimedOut) => {
                Self::Unavailable(error.into())
            }
            _ => match error.code() {
                None if error.is_lost() => Self::Unavailable(error.into()),
                None => Self::Backend(error.into()),
                Some(code) => by_code(code)(error.into()),
            },
        }
    }
}

/// What an SQLSTATE means. Its first two characters are its class.
fn by_code(code: &str) -> fn(BoxError) -> StoreError {
    match code {
        "53100" => StoreError::Full,
        // Connection, serialization, read-only after a failover, resources, locks, operators, disks.
        "0A000" | "25006" | "55P03" => StoreError::Unavailable,
        // Credentials, rights, and a database, schema, table or column that is not there.
        "3D000" | "3F000" | "42501" | "42703" | "42P01" | "42P07" => StoreError::Misconfigured,
        code => match code.get(..2) {
            Some("08" | "40" | "53" | "57" | "58") => StoreError::Unavailable,
            Some("28") => StoreError::Misconfigured,
            Some("XX") if code != "XX000" => StoreError::Corrupt,
            _ => StoreError::Backend,
        },
    }
}
