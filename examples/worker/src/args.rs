//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  worker                                       a broker in memory, and consumers that are cut off
  worker --broker redis://localhost/           Redis Streams, and processes that die of SIGKILL
  worker --messages 10000 --kill-every 1000    more of them, and a kill each second

Exit status: 0 if each message took effect once; else 1.";

/// Consumes messages that come more than once, with consumers that are killed.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where the messages are: `test`, a broker in memory, or `redis://HOST/`
    #[arg(long, global = true, default_value = "test")]
    pub(crate) broker: Broker,

    /// How many messages there are, each of which is published twice
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) messages: u32,

    /// How many consumers there are
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) consumers: usize,

    /// How many milliseconds there are between two kills
    #[arg(long, value_name = "MS", default_value = "100", value_parser = millis)]
    pub(crate) kill_every: Duration,

    #[command(subcommand)]
    pub(crate) role: Option<Role>,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Role {
    /// Be one of the consumers
    #[command(hide = true)]
    Consume {
        /// Where the rows are
        ledger: PathBuf,
    },
}

/// Where the messages are.
#[derive(Clone, Debug)]
pub(crate) enum Broker {
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "it is not built in")
    )]
    Redis(String),
    Test,
}

impl FromStr for Broker {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "test" => Ok(Self::Test),
            Some(("redis" | "redis+unix", _)) => Ok(Self::Redis(text.into())),
            _ => Err("use `test` or `redis://..`".into()),
        }
    }
}

fn millis(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_millis)
}
