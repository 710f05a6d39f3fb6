//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  worker                                       a broker in memory, and consumers that are cut off
  worker --broker redis://localhost/           Redis Streams, and processes that die of SIGKILL
  worker --broker amqp://localhost/%2f         the same with RabbitMQ
  worker --broker nats://localhost             the same with NATS JetStream
  worker --messages 10000 --kill-every 1000    more of them, and a kill each second

Exit status: 0 if each message took effect once; else 1.";

/// Consumes messages that come more than once, with consumers that are killed.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where the messages are: `test`, a broker in memory, or the URL of one that is built in
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
    #[cfg(feature = "nats")]
    Nats(String),
    #[cfg(feature = "rabbitmq")]
    RabbitMq(String),
    #[cfg(feature = "redis")]
    Redis(String),
    Test,
}

/// What `--broker` takes.
const BUILT_IN: &[&str] = &[
    "`test`",
    #[cfg(feature = "redis")]
    "`redis://..`",
    #[cfg(feature = "rabbitmq")]
    "`amqp://..`",
    #[cfg(feature = "nats")]
    "`nats://..`",
];

impl FromStr for Broker {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let scheme = text.split_once(':').map(|(scheme, _)| scheme);
        match scheme {
            None if text == "test" => Ok(Self::Test),
            #[cfg(feature = "nats")]
            Some("nats") => Ok(Self::Nats(text.into())),
            #[cfg(not(feature = "nats"))]
            Some("nats") => Err("it is not built in; build with `--features nats`".into()),
            #[cfg(feature = "rabbitmq")]
            Some("amqp") => Ok(Self::RabbitMq(text.into())),
            #[cfg(not(feature = "rabbitmq"))]
            Some("amqp") => Err("it is not built in; build with `--features rabbitmq`".into()),
            #[cfg(feature = "redis")]
            Some("redis" | "redis+unix") => Ok(Self::Redis(text.into())),
            #[cfg(not(feature = "redis"))]
            Some("redis" | "redis+unix") => {
                Err("it is not built in; build with `--features redis`".into())
            }
            _ => Err(format!("use {}", BUILT_IN.join(" or "))),
        }
    }
}

fn millis(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_millis)
}
