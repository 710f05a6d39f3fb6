//! Where records are, for workers and for the harness that looks at them from outside.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use idempotency::redis::RedisStore;
use idempotency::sqlite::SqliteStore;
use idempotency::{
    CodecId, Inspect, InspectExt, Key, MemoryStore, Payload, Record, Resolution, ResolveError,
    StoreError,
};

/// How a worker reaches its store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// Not at all: it is in the harness's own process.
    Memory,
    Redis(String),
    Sqlite(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Redis(url) => f.write_str(url),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

impl FromStr for Place {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.strip_prefix("sqlite:") {
            Some(path) => Ok(Self::Sqlite(path.into())),
            None if text.starts_with("redis") => Ok(Self::Redis(text.to_owned())),
            None => bail!("`{text}` is neither a Redis URL nor `sqlite:` and a path"),
        }
    }
}

/// A second pair of eyes on the store.
#[derive(Clone, Debug)]
pub(crate) enum Records {
    Memory(MemoryStore),
    Redis(RedisStore),
    Sqlite(SqliteStore),
}

impl Records {
    pub(crate) async fn open(place: &Place) -> Result<Self> {
        Ok(match place {
            Place::Memory => Self::Memory(MemoryStore::new()),
            Place::Redis(url) => Self::Redis(RedisStore::connect(url.as_str()).await?),
            Place::Sqlite(path) => Self::Sqlite(SqliteStore::open(path)?),
        })
    }

    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        match self {
            Self::Memory(store) => store.get(key).await,
            Self::Redis(store) => store.get(key).await,
            Self::Sqlite(store) => store.get(key).await,
        }
    }

    /// Settles a doubt as an operator would who knows what happened: `value`, or nothing.
    pub(crate) async fn resolve(&self, key: &Key, value: Option<&str>) -> Result<(), ResolveError> {
        let resolution = match value {
            Some(value) => Resolution::Completed(payload(value), Duration::from_secs(24 * 60 * 60)),
            None => Resolution::NotExecuted,
        };
        match self {
            Self::Memory(store) => store.resolve(key, resolution).await,
            Self::Redis(store) => store.resolve(key, resolution).await,
            Self::Sqlite(store) => store.resolve(key, resolution).await,
        }
    }
}

/// `value` as the engine's codec, JSON, writes it.
fn payload(value: &str) -> Payload {
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
            Place::Redis("redis+unix:///tmp/s".to_owned()),
        ] {
            assert_eq!(place.to_string().parse::<Place>().unwrap(), place);
        }
        assert!("postgres://".parse::<Place>().is_err());
    }
}
