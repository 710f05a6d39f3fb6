//! Real servers for tests, started without docker, and a proxy that cuts their connections.
//!
//! A server that is not installed is an error that says how to install it. It is never a reason to
//! skip a test in silence.
//!
//! Servers are killed when their handle is dropped, which a panicking test does too. A test process
//! that is itself killed leaves its servers behind.

#![cfg(unix)]

mod cluster;
mod nats;
mod postgres;
mod process;
mod proxy;
mod rabbitmq;
mod redis;
mod resp;
mod start;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

pub use self::cluster::RedisCluster;
pub use self::nats::NatsServer;
pub use self::postgres::{PgBouncer, PostgresBuilder, PostgresServer};
pub use self::proxy::{Cut, Proxy};
pub use self::rabbitmq::RabbitServer;
pub use self::redis::{CommandStats, RedisBuilder, RedisServer};

/// Where a server listens.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Endpoint {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The server was not started here, so it cannot be killed, paused or restarted.
    #[error("the server that `{variable}` names was not started by this test")]
    External {
        /// The environment variable.
        variable: &'static str,
    },
    /// Something else went wrong on the way.
    #[error("the server could not be used")]
    Io(#[from] io::Error),
    /// The program is not installed.
    #[error("`{program}` is not installed; install it with `{install}`")]
    Missing {
        /// The program.
        program: &'static str,
        /// The command that installs it on Debian and Ubuntu.
        install: &'static str,
    },
    /// The server did not get ready in time, or ended at once.
    #[error("the server did not start; the end of its log is:\n{log}")]
    NotReady {
        /// What it said.
        log: String,
    },
    /// The server refused a command of the test.
    #[error("the server refused `{command}`: {reply}")]
    Refused {
        /// The command's name.
        command: String,
        /// The server's words.
        reply: String,
    },
}
