//! The bank, whichever database it is in.

use idempotency::{BoxError, Error, Outcome};
use serde::{Deserialize, Serialize};

use crate::args::{Args, StoreChoice};
#[cfg(feature = "postgres")]
use crate::postgres::PostgresBank;
use crate::requests::Request;
use crate::sqlite::SqliteBank;

/// A bank.
#[derive(Clone)]
pub(crate) enum Bank {
    #[cfg(feature = "postgres")]
    Postgres(PostgresBank),
    Sqlite(SqliteBank),
}

/// What a client gets.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Receipt {
    /// The money has been moved, and this is left.
    Done { left: i64 },
    /// There was not enough of it. That is an answer, too, and stays one.
    Declined,
}

/// Why there is no receipt.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Idempotency(#[from] Error),
    #[error("the database failed")]
    Database(#[source] BoxError),
}

/// What the database holds in the end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Books {
    /// The sum of all balances, in cents.
    pub(crate) cents: i64,
    /// The rows of the ledger, and the requests in it.
    pub(crate) rows: i64,
    pub(crate) requests: i64,
}

impl Bank {
    pub(crate) async fn open(args: &Args) -> Result<Self, BoxError> {
        match &args.store {
            StoreChoice::Sqlite(path) => Ok(Self::Sqlite(SqliteBank::open(path, args.fresh)?)),
            #[cfg(feature = "postgres")]
            StoreChoice::Postgres(url) => {
                let bank = PostgresBank::open(url, args.clients.into(), args.fresh).await?;
                Ok(Self::Postgres(bank))
            }
            #[cfg(not(feature = "postgres"))]
            StoreChoice::Postgres(url) => Err(format!(
                "this was built without PostgreSQL, which would make the first build longer: \
                 `cargo run -p transfer --features postgres -- --store {url}`"
            )
            .into()),
        }
    }

    /// Moves money, once for each request.
    pub(crate) async fn transfer(&self, request: Request) -> Result<Outcome<Receipt>, Failure> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(bank) => bank.transfer(request).await,
            Self::Sqlite(bank) => bank.transfer(request).await,
        }
    }

    pub(crate) async fn books(&self) -> Result<Books, BoxError> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(bank) => bank.books().await,
            Self::Sqlite(bank) => Ok(bank.books()?),
        }
    }
}

impl Failure {
    /// Whether the same request may well be answered next time. Nothing of it counts so far.
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            Self::Idempotency(error) => error.is_retryable(),
            Self::Database(_) => true,
        }
    }
}

/// An error and all its causes.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
