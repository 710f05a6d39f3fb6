//! Records in transactions: of a pool, or of the application's own.

#[cfg(feature = "deadpool")]
mod deadpool;
mod session;
#[cfg(feature = "sqlx")]
mod sqlx;
mod within;

#[cfg(feature = "deadpool")]
pub use self::deadpool::{PostgresTransaction, PostgresTransactions};
#[cfg(any(feature = "deadpool", feature = "sqlx"))]
pub(crate) use self::session::Session;
#[cfg(feature = "sqlx")]
pub use self::sqlx::SqlxTransactions;

/// How much of what others do at the same time a transaction sees.
///
/// The records are as safe at each level. At the higher ones the server gives more transactions up, and
/// the operation runs again.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Isolation {
    /// Each statement sees what was committed before it. The default.
    #[default]
    ReadCommitted,
    /// All statements see what was committed before the first.
    RepeatableRead,
    /// As if all transactions came one after the other.
    Serializable,
}

#[cfg(any(feature = "deadpool", feature = "sqlx"))]
impl Isolation {
    const fn begin(self) -> &'static str {
        match self {
            Self::ReadCommitted => "BEGIN ISOLATION LEVEL READ COMMITTED",
            Self::RepeatableRead => "BEGIN ISOLATION LEVEL REPEATABLE READ",
            Self::Serializable => "BEGIN ISOLATION LEVEL SERIALIZABLE",
        }
    }
}
