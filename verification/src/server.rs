//! The server of a run, where its store has one.

use anyhow::{Context, Result, bail};
use idempotent_testkit::server::{Endpoint, PostgresServer, RedisServer, ServerError};
use tokio::task::{block_in_place, spawn_blocking};

use crate::records::Place;
use crate::setup::StoreKind;

/// What a PostgreSQL server is told. It flushes to the disk before it answers, so that nothing excuses
/// a lost record. A checkpoint would flush the same once more, and there is never much to recover.
const POSTGRES: &[(&str, &str)] = &[
    ("checkpoint_timeout", "1h"),
    ("max_connections", "500"),
    ("max_wal_size", "2GB"),
    ("synchronous_commit", "on"),
];

/// Before it recovers, a server flushes all of its files, which it can do one by one or at once.
const QUICK_RECOVERY: &str = "ALTER SYSTEM SET recovery_init_sync_method = 'syncfs'";

/// A server that the harness has started.
#[derive(Debug)]
pub(crate) enum Server {
    Postgres(PostgresServer),
    Redis(RedisServer),
}

impl Server {
    /// Starts one for `store`, if it needs one. Redis is given `arguments`.
    pub(crate) async fn start(
        store: StoreKind,
        arguments: &[(&str, &str)],
    ) -> Result<Option<Self>> {
        match store {
            StoreKind::Memory | StoreKind::Sqlite => Ok(None),
            StoreKind::Postgres => {
                let mut builder = PostgresServer::builder().durable();
                for (name, value) in POSTGRES {
                    builder = builder.setting(name, value);
                }
                let starting = spawn_blocking(move || {
                    let server = builder.start()?;
                    // Version 13 does not know it, and takes two seconds longer to come back.
                    _ = server.ask(QUICK_RECOVERY);
                    Ok::<_, ServerError>(server)
                });
                Ok(Some(Self::Postgres(starting.await??)))
            }
            StoreKind::Redis => {
                let mut builder = RedisServer::builder();
                for (name, value) in arguments {
                    builder = builder.arg(name, value);
                }
                let server = spawn_blocking(move || builder.start()).await??;
                Ok(Some(Self::Redis(server)))
            }
        }
    }

    /// Where workers find it.
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Postgres(server) => Place::Postgres(server.url().to_owned()),
            Self::Redis(server) => Place::Redis(server.url().to_owned()),
        }
    }

    /// Its socket or port, for a proxy.
    pub(crate) fn endpoint(&self) -> Result<Endpoint> {
        Ok(match self {
            Self::Postgres(server) => server.endpoint()?,
            Self::Redis(server) => server.endpoint()?,
        })
    }

    /// Its process id, or that of the first of its processes, with which the others end.
    pub(crate) fn pid(&self) -> Result<String> {
        match self {
            Self::Postgres(server) => {
                let first_line = r"SELECT split_part(pg_read_file('postmaster.pid'), E'\n', 1)";
                Ok(server.ask(first_line)?)
            }
            Self::Redis(server) => redis_pid(server),
        }
    }

    /// Sends one command to a Redis server.
    pub(crate) fn ask(&self, command: &[&str]) -> Result<String> {
        match self {
            Self::Postgres(_) => bail!("PostgreSQL has no commands of Redis"),
            Self::Redis(server) => Ok(server.ask(command)?),
        }
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) -> Result<()> {
        let killed = match self {
            // It has many processes, all of which have to be gone.
            Self::Postgres(server) => block_in_place(|| server.kill()),
            Self::Redis(server) => server.kill(),
        };
        Ok(killed?)
    }

    /// Starts it again, with the files that it had.
    pub(crate) async fn restart(self) -> Result<Self> {
        spawn_blocking(move || {
            let mut server = self;
            match &mut server {
                Self::Postgres(server) => server.restart()?,
                Self::Redis(server) => server.restart()?,
            }
            Ok(server)
        })
        .await?
    }
}

/// The process id of a Redis server.
pub(crate) fn redis_pid(server: &RedisServer) -> Result<String> {
    let information = server.ask(&["INFO", "server"])?;
    let line = information
        .lines()
        .find_map(|line| line.strip_prefix("process_id:"));
    Ok(line
        .context("a server does not tell its process id")?
        .trim()
        .to_owned())
}
