//! Where records are, for workers and for the harness that looks at them from outside.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use idempotency::postgres::PostgresStore;
use idempotency::protocol::{Claim, ClaimRequest, Completion};
use idempotency::redis::{ConnectOptions, RedisStore};
use idempotency::sqlite::SqliteStore;
use idempotency::{
    CodecId, Fingerprint, Inspect, InspectExt, Key, MemoryStore, Owner, Payload, Record,
    Resolution, ResolveError, Store, StoreError,
};
use idempotent_testkit::server::Proxy;

/// How long a write may take to reach a replica.
const REPLICATION: Duration = Duration::from_millis(500);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How a worker reaches its store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// Not at all: it is in the harness's own process.
    Memory,
    Postgres(String),
    Redis(String),
    Sqlite(PathBuf),
}

impl Place {
    /// The same server as it is reached through `proxy`, or the same file.
    pub(crate) fn through(&self, proxy: &Proxy) -> Self {
        match self {
            Self::Memory | Self::Sqlite(_) => self.clone(),
            Self::Postgres(_) => {
                Self::Postgres(format!("postgres://postgres@{}/postgres", proxy.address()))
            }
            Self::Redis(_) => Self::redis(proxy),
        }
    }

    /// A Redis server that is reached through `proxy`.
    pub(crate) fn redis(proxy: &Proxy) -> Self {
        Self::Redis(format!("redis://{}/", proxy.address()))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Postgres(url) | Self::Redis(url) => f.write_str(url),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

impl FromStr for Place {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.strip_prefix("sqlite:") {
            Some(path) => Ok(Self::Sqlite(path.into())),
            None if text.starts_with("postgres") => Ok(Self::Postgres(text.to_owned())),
            None if text.starts_with("redis") => Ok(Self::Redis(text.to_owned())),
            None => bail!("`{text}` is neither the URL of a server nor `sqlite:` and a path"),
        }
    }
}

/// What is asked of a store.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::Args)]
pub(crate) struct Access {
    /// How many connections to PostgreSQL carry the operations.
    #[arg(long)]
    pub(crate) connections: Option<usize>,
    /// Takes a server that evicts records.
    #[arg(long)]
    pub(crate) allow_eviction: bool,
    /// How many replicas have to have a write.
    #[arg(long, default_value_t = 0)]
    pub(crate) replicas: usize,
    /// How much of a file may be in use for work to be begun.
    #[arg(long)]
    pub(crate) max_bytes: Option<u64>,
}

impl Access {
    pub(crate) fn to_arguments(self) -> Vec<String> {
        let mut arguments = vec![format!("--replicas={}", self.replicas)];
        if self.allow_eviction {
            arguments.push("--allow-eviction".to_owned());
        }
        if let Some(connections) = self.connections {
            arguments.push(format!("--connections={connections}"));
        }
        if let Some(bytes) = self.max_bytes {
            arguments.push(format!("--max-bytes={bytes}"));
        }
        arguments
    }

    pub(crate) async fn postgres(self, url: &str) -> Result<PostgresStore, StoreError> {
        let mut options = PostgresStore::options();
        if let Some(connections) = self.connections {
            options = options.connections(connections);
        }
        options.connect(url).await
    }

    pub(crate) async fn redis(self, url: &str) -> Result<RedisStore, StoreError> {
        let mut options = ConnectOptions::new();
        if self.allow_eviction {
            options = options.allow_eviction();
        }
        let store = options.connect(url).await?;
        if self.replicas == 0 {
            return Ok(store);
        }
        let connection = options.connection(url)?;
        Ok(store.with_replicas(connection, self.replicas, REPLICATION))
    }

    pub(crate) fn sqlite(self, path: &Path) -> Result<SqliteStore, StoreError> {
        let mut options = SqliteStore::options();
        if let Some(bytes) = self.max_bytes {
            options = options.max_bytes(bytes);
        }
        options.open(path)
    }
}

/// A second pair of eyes on the store.
#[derive(Clone, Debug)]
pub(crate) enum Records {
    Memory(MemoryStore),
    Postgres(PostgresStore),
    Redis(RedisStore),
    Sqlite(SqliteStore),
}

impl Records {
    pub(crate) async fn open(place: &Place, access: Access) -> Result<Self> {
        Ok(match place {
            Place::Memory => Self::Memory(MemoryStore::new()),
            Place::Postgres(url) => Self::Postgres(access.postgres(url).await?),
            Place::Redis(url) => Self::Redis(access.redis(url).await?),
            Place::Sqlite(path) => Self::Sqlite(access.sqlite(path)?),
        })
    }

    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        match self {
            Self::Memory(store) => store.get(key).await,
            Self::Postgres(store) => store.get(key).await,
            Self::Redis(store) => store.get(key).await,
            Self::Sqlite(store) => store.get(key).await,
        }
    }

    /// Puts a result of `bytes` under `key`, to take room away.
    pub(crate) async fn put(&self, key: &Key, bytes: usize) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => put(store, key, bytes).await,
            Self::Postgres(store) => put(store, key, bytes).await,
            Self::Redis(store) => put(store, key, bytes).await,
            Self::Sqlite(store) => put(store, key, bytes).await,
        }
    }

    /// Forgets what is under `key`.
    pub(crate) async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.delete(key).await,
            Self::Postgres(store) => store.delete(key).await,
            Self::Redis(store) => store.delete(key).await,
            Self::Sqlite(store) => store.delete(key).await,
        }
        .map(drop)
    }

    /// Settles a doubt as an operator would who knows what happened: `value`, or nothing.
    pub(crate) async fn resolve(&self, key: &Key, value: Option<&str>) -> Result<(), ResolveError> {
        let resolution = match value {
            Some(value) => Resolution::Completed(payload(value), DAY),
            None => Resolution::NotExecuted,
        };
        match self {
            Self::Memory(store) => store.resolve(key, resolution).await,
            Self::Postgres(store) => store.resolve(key, resolution).await,
            Self::Redis(store) => store.resolve(key, resolution).await,
            Self::Sqlite(store) => store.resolve(key, resolution).await,
        }
    }
}

async fn put(store: &impl Store, key: &Key, bytes: usize) -> Result<(), StoreError> {
    let owner = Owner::random().map_err(StoreError::Backend)?;
    let fingerprint = Fingerprint::from_bytes([0; 32]);
    let request = ClaimRequest::new(owner, fingerprint, DAY, DAY);
    if let Claim::Granted(grant) = store.claim(key, &request).await? {
        let value = Completion::value(payload(&"x".repeat(bytes)), DAY);
        store.complete(key, &grant, &value).await?;
    }
    Ok(())
}

/// `value` as the engine's codec, JSON, writes it.
pub(crate) fn payload(value: &str) -> Payload {
    Payload {
        codec: CodecId::JSON,
        bytes: serde_json::json!(value).to_string().into_bytes().into(),
    }
}

/// The value that `record` replays.
pub(crate) fn value_of(record: &Record) -> Result<String> {
    serde_json::from_slice(&record.result.bytes).context("the record's result is not a text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_the_command_line() {
        for place in [
            Place::Sqlite("/tmp/a b/c.db".into()),
            Place::Postgres("postgres://postgres@%2Ftmp%2Fs:5432/postgres".to_owned()),
            Place::Redis("redis+unix:///tmp/s".to_owned()),
        ] {
            assert_eq!(place.to_string().parse::<Place>().unwrap(), place);
        }
        assert!("mysql://".parse::<Place>().is_err());
    }
}
