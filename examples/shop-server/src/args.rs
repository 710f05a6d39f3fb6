//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Parser;

const EXAMPLES: &str = "\
Examples:
  shop-server                                a shop on port 8080, which remembers in a file
  shop-server --demo                         what a client sees, and the end
  shop-server --require-key --wait 10s       no order without a key; a retry waits for the first
  shop-server --store redis://127.0.0.1/     built with `--features redis`

  curl -i localhost:8080/api -H 'Idempotency-Key: k1' -d '{\"item\":\"tea\"}'
  curl -i localhost:8080/api -H 'Idempotency-Key: k1' -d '{\"item\":\"tea\"}'      the same order
  curl -i localhost:8080/api -H 'Idempotency-Key: k1' -d '{\"item\":\"coffee\"}'   422
  curl -i localhost:8080/__orders

The caller is whoever `X-Tenant` or a bearer token says, else `anonymous`. GET /openapi.json tells the rest.";

/// Sells things over HTTP, each order once.
#[derive(Clone, Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where to listen; with port 0, on any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// What remembers responses: `memory`, `sqlite:PATH`, `redis://HOST/` or `postgres://USER@HOST/`
    #[arg(long, default_value = "sqlite:shop-data/shop.sqlite")]
    pub(crate) store: StoreChoice,

    /// Where the orders themselves are kept
    #[arg(long, value_name = "FOLDER", default_value = "shop-data")]
    pub(crate) data: PathBuf,

    /// Refuse orders without a key
    #[arg(long)]
    pub(crate) require_key: bool,

    /// How long a key stays blocked after a crash, as in `60s`
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub(crate) lease: Duration,

    /// Let a retry wait for the response of the first request, for so long, instead of a 409
    #[arg(long, value_name = "LIMIT", value_parser = duration)]
    pub(crate) wait: Option<Duration>,

    /// Receive Stripe's webhooks, signed with this secret
    #[arg(
        long,
        value_name = "SECRET",
        env = "WEBHOOK_SECRET",
        hide_env_values = true
    )]
    pub(crate) webhook_secret: Option<String>,

    /// Show what a client sees, in memory, and end
    #[arg(long)]
    pub(crate) demo: bool,
}

/// As in `60s` or `1m 30s`; a number alone is of seconds.
fn duration(text: &str) -> Result<Duration, humantime::DurationError> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text),
    }
}

/// What remembers responses.
#[derive(Clone, Debug)]
pub(crate) enum StoreChoice {
    Memory,
    Postgres(String),
    Redis(String),
    Sqlite(PathBuf),
}

impl FromStr for StoreChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None | Some((_, "")) if text.trim_end_matches(':') == "memory" => Ok(Self::Memory),
            Some(("sqlite", path)) => Ok(Self::Sqlite(path.into())),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(text.into())),
            Some(("redis" | "rediss" | "redis+unix" | "unix", _)) => Ok(Self::Redis(text.into())),
            _ => Err("use `memory`, `sqlite:PATH`, `redis://..` or `postgres://..`".into()),
        }
    }
}
