use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use idempotent_core::{BoxError, StoreError};
use rusqlite::ErrorCode;

/// What goes wrong between this crate and SQLite. `From` says what that means to a store's caller.
///
/// A clone goes to each of the callers whose common transaction failed.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The snapshot that the operation was judged on cannot take the change that it makes.
    #[error("the operation needs a write transaction")]
    Changes,

    #[error("the column `{column}` holds what no record has there")]
    Damaged { column: &'static str },

    #[error("a duration or a time is too long for SQLite to keep")]
    OutOfRange,

    #[error("the table has version {0}; upgrade this program to use it")]
    NewerTable(usize),

    #[error("the row has format {0}; upgrade this program to read it")]
    NewerRow(i64),

    #[error(
        "there is no open transaction: begin one first, and leave its end to the one who began it"
    )]
    Ended,

    #[error("other transactions of this process took too long")]
    NoTurn,

    #[error("the records take as much room as they may, {0} bytes")]
    NoRoom(u64),

    #[error("the protocol answered another question")]
    OtherReply,

    #[error(transparent)]
    Refused(#[from] Refused),

    #[error("SQLite gave the transaction up")]
    RolledBack,

    #[error("SQLite failed")]
    Sqlite(#[source] Arc<rusqlite::Error>),

    #[error("a thread could not be started")]
    Thread(#[source] Arc<io::Error>),

    #[error("the store's thread has ended")]
    ThreadEnded,
}

/// Why a file, or a table, is not used.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the path is empty, so that the records would be in a temporary file")]
    EmptyPath,

    #[error("records in memory do not outlive the process: use `MemoryStore` for that")]
    Memory,

    #[error("`{}` is on a network file system (`{kind}`), where SQLite's locks do not hold", path.display())]
    Network { path: PathBuf, kind: String },

    #[error("the file cannot have a write-ahead log, its journal mode is `{0}`")]
    NoWal(String),

    #[error("SQLite {0} is too old, 3.37 is needed")]
    OldSqlite(&'static str),

    #[error("`{0}` cannot be the name of the table: use letters, digits and `_`, at most 48")]
    TableName(String),

    #[error("a `file:` URI may name a database in memory: give a path")]
    Uri,
}

impl Error {
    /// Whether the operation alone is refused, before it has changed the record. Any other error
    /// concerns the transaction around it.
    pub(crate) const fn is_own(&self) -> bool {
        matches!(
            self,
            Self::Damaged { .. } | Self::NewerRow(_) | Self::OutOfRange
        )
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Sqlite(source) => source.sqlite_error_code(),
            _ => None,
        }
    }

    /// Whether nobody knows what became of a commit that failed with it.
    pub(crate) fn is_uncertain(&self) -> bool {
        matches!(self, Self::ThreadEnded) || self.code() == Some(ErrorCode::SystemIoFailure)
    }

    /// Whether another connection is in the way.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(
            self.code(),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
        )
    }
}

impl From<io::Error> for Error {
    fn from(source: io::Error) -> Self {
        Self::Thread(Arc::new(source))
    }
}

impl From<rusqlite::Error> for Error {
    fn from(source: rusqlite::Error) -> Self {
        Self::Sqlite(Arc::new(source))
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        match &error {
            Error::Damaged { .. } => Self::Corrupt(error.into()),
            Error::NewerRow(format) => Self::Incompatible {
                format: format.to_string(),
            },
            Error::NewerTable(version) => Self::Incompatible {
                format: format!("table version {version}"),
            },
            Error::NoRoom(_) => Self::Full(error.into()),
            Error::Refused(_) => Self::Misconfigured(error.into()),
            Error::NoTurn | Error::RolledBack | Error::Thread(_) => Self::Unavailable(error.into()),
            Error::Changes
            | Error::Ended
            | Error::OtherReply
            | Error::OutOfRange
            | Error::ThreadEnded => Self::Backend(error.into()),
            Error::Sqlite(source) => by_code(source.sqlite_error_code())(error.into()),
        }
    }
}

fn by_code(code: Option<ErrorCode>) -> fn(BoxError) -> StoreError {
    match code {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        // Damage to the file, rather than to one record. Nobody can tell which records it holds.
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt,
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::OperationAborted
            | ErrorCode::OperationInterrupted
            | ErrorCode::OutOfMemory
            | ErrorCode::SchemaChanged
            | ErrorCode::SystemIoFailure,
        ) => StoreError::Unavailable,
        _ => StoreError::Backend,
    }
}
