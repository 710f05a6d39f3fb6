//! The command line.

use std::fmt;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::Parser;

use crate::crash::CrashAt;

const EXAMPLES: &str = "\
Examples:
  orders                                       the deliveries that ship with the program
  orders                                       once more: every answer is a replay
  orders --fresh --crash-after 5               die with an order written but not recorded
  orders                                       recover: no order twice, none lost
  orders --store memory mine.jsonl             deliveries of yours; nothing is remembered
  orders --store redis://127.0.0.1/ - < feed   standard input, and Redis
  orders --store postgres://shop@localhost/    a table in a PostgreSQL database

A delivery is a line like this, with \"card\":\"flaky\" or \"declined\" if you like; any other line is
reported and skipped.
  {\"customer\":\"ada\",\"request_id\":\"r1\",\"item\":\"tea\",\"quantity\":2,\"price_cents\":450}

Exit status: 0 if every order exists, once; 1 if one does not; 130 after Ctrl-C.";

/// Creates orders from an at-least-once queue, each of them once.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// JSON lines, `-` for standard input [default: the deliveries that ship with the program]
    pub(crate) file: Option<PathBuf>,

    /// What remembers results: `memory`, `sqlite:PATH`, `redis://HOST/` or `postgres://USER@HOST/`
    #[arg(long, default_value = "sqlite:orders-data/orders.sqlite")]
    pub(crate) store: StoreChoice,

    /// Start over: forget all results, and empty the orders file
    #[arg(long)]
    pub(crate) fresh: bool,

    /// How many deliveries to work on at once
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) workers: u16,

    /// How long others wait for an attempt that died, as in `2s` or `500ms`
    #[arg(long, default_value = "2s", value_parser = duration)]
    pub(crate) lease: Duration,

    /// Die at the N-th new order, for the next run to show the recovery
    #[arg(long, value_name = "N")]
    pub(crate) crash_after: Option<NonZeroU64>,

    /// Where to die: `before-effect`, or `after-effect` but before its record
    #[arg(
        long,
        value_name = "WHERE",
        default_value = "after-effect",
        hide_possible_values = true,
        requires = "crash_after"
    )]
    pub(crate) crash_at: CrashAt,
}

/// What remembers results.
#[derive(Clone, Debug)]
pub(crate) enum StoreChoice {
    Memory,
    Postgres(String),
    Redis(String),
    Sqlite(PathBuf),
}

impl StoreChoice {
    /// Where the orders go: beside the database file, because the two belong together.
    pub(crate) fn orders_file(&self) -> PathBuf {
        match self {
            Self::Memory => PathBuf::from("orders-data/memory.jsonl"),
            Self::Postgres(_) => PathBuf::from("orders-data/postgres.jsonl"),
            Self::Redis(_) => PathBuf::from("orders-data/redis.jsonl"),
            Self::Sqlite(path) => path.with_extension("jsonl"),
        }
    }
}

impl FromStr for StoreChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("sqlite", path)) => match Self::Sqlite(path.into()) {
                store if store.orders_file() == Path::new(path) => {
                    Err("that is where the orders go: name the database otherwise".into())
                }
                store => Ok(store),
            },
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(text.into())),
            Some(("redis" | "rediss" | "redis+unix" | "unix", _)) => Ok(Self::Redis(text.into())),
            _ => Err("use `memory`, `sqlite:PATH`, `redis://..` or `postgres://..`".into()),
        }
    }
}

impl fmt::Display for StoreChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            // A URL may hold a password.
            Self::Postgres(_) => f.write_str("postgres"),
            Self::Redis(_) => f.write_str("redis"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').unwrap_or_default(), 1000),
    };
    match number.parse::<u32>() {
        Ok(number) if number > 0 => Ok(Duration::from_millis(u64::from(number) * unit)),
        _ => Err("use a whole number and `s` or `ms`, as in `2s`".into()),
    }
}
