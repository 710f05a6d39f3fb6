//! The command line.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;

const EXAMPLES: &str = "\
Examples:
  transfer                                     200 transfers, each sent twice at the same time
  transfer                                     once more: every answer is a replay
  transfer --fresh --transfers 10000           start over, with more
  transfer --store postgres://bank@localhost/  accounts in a PostgreSQL database

Kill it while it runs, and start it again: no transfer is lost, and none happens twice.

Exit status: 0 if each transfer has happened once and no money has come or gone; else 1.";

/// Moves money between accounts, each transfer once.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where accounts and results are: `sqlite:PATH` or `postgres://USER@HOST/`
    #[arg(long, default_value = "sqlite:transfer-data/bank.sqlite")]
    pub(crate) store: StoreChoice,

    /// Start over: empty accounts and ledger, and forget all results
    #[arg(long)]
    pub(crate) fresh: bool,

    /// How many transfers to make
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) transfers: u64,

    /// The number of the first one
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) first: u64,

    /// How many requests are under way at once
    #[arg(long, value_name = "N", default_value = "16", value_parser = clap::value_parser!(u16).range(2..))]
    pub(crate) clients: u16,
}

/// Where accounts and results are.
#[derive(Clone, Debug)]
pub(crate) enum StoreChoice {
    Postgres(String),
    Sqlite(PathBuf),
}

impl FromStr for StoreChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("sqlite", path)) => Ok(Self::Sqlite(path.into())),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(text.into())),
            _ => Err(
                "use `sqlite:PATH` or `postgres://..`: accounts and results have to be in one database"
                    .into(),
            ),
        }
    }
}

impl fmt::Display for StoreChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A URL may hold a password.
            Self::Postgres(_) => f.write_str("postgres"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}
