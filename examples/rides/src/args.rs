//! The command line.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, Subcommand};

use crate::crash::Point;

const EXAMPLES: &str = "\
Examples:
  rides                                   every crash, every recovery, on a SQLite file that is thrown away
  rides --store postgres://app@localhost/ the same in a PostgreSQL database
  rides soak                              200 rides, two clients and two completers, which are killed at random

Exit status: 0 if each ride was booked, charged and mailed once; else 1.";

/// Books and charges rides, and dies at every point of it.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where the records are: `sqlite:PATH`, `postgres://USER@HOST/` or `redis://HOST/`
    #[arg(long, global = true)]
    pub(crate) store: Option<StoreChoice>,

    /// Where the rides are if the records are in Redis, which has no rows
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        default_value = "rides-data/rows.sqlite"
    )]
    pub(crate) rows: PathBuf,

    /// Where the payment provider listens; without, the program is one itself
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(crate) payments: Option<SocketAddr>,

    #[command(subcommand)]
    pub(crate) role: Option<Role>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Role {
    /// Book one ride, as a client does
    Book {
        /// The ride's number
        id: u32,
        /// Where to die of SIGKILL
        #[arg(long, value_name = "POINT")]
        crash_at: Option<Point>,
    },
    /// Book rides until all are booked, in an order of its own
    Client {
        /// How many there are
        #[arg(long, value_name = "N", default_value_t = 200)]
        rides: u32,
    },
    /// Finish what no client has come back for
    Complete {
        /// Look once, and end
        #[arg(long)]
        once: bool,
    },
    /// Kill clients and completers at random while they book many rides
    Soak {
        /// How many rides there are
        #[arg(long, value_name = "N", default_value_t = 200)]
        rides: u32,
        /// How many processes are killed
        #[arg(long, value_name = "N", default_value_t = 40)]
        kills: u32,
    },
}

/// Where the records are.
#[derive(Clone, Debug)]
pub(crate) enum StoreChoice {
    #[cfg_attr(
        not(feature = "postgres"),
        expect(dead_code, reason = "it is not built in")
    )]
    Postgres(String),
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "it is not built in")
    )]
    Redis(String),
    Sqlite(PathBuf),
}

impl StoreChoice {
    /// As `--store` takes it.
    pub(crate) fn argument(&self) -> String {
        match self {
            Self::Postgres(url) | Self::Redis(url) => url.clone(),
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
        }
    }
}

impl FromStr for StoreChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("sqlite", path)) => Ok(Self::Sqlite(path.into())),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(text.into())),
            Some(("redis" | "redis+unix", _)) => Ok(Self::Redis(text.into())),
            _ => Err("use `sqlite:PATH`, `postgres://..` or `redis://..`".into()),
        }
    }
}

impl fmt::Display for StoreChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A URL may hold a password.
            Self::Postgres(_) => f.write_str("postgres"),
            Self::Redis(_) => f.write_str("redis"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}
