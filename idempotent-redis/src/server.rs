use idempotent_core::StoreError;
use redis::aio::ConnectionLike;
use redis::{ErrorKind, ServerErrorKind, Value, cmd};

use crate::error::Error;
use crate::store::RedisStore;

/// How much of what it has acknowledged a server loses when it crashes.
///
/// A failover to a replica loses what the replica had not received, whatever this says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Durability {
    /// The writes of about a second: an append-only file with `appendfsync everysec`.
    EverySecond,
    /// Nothing: an append-only file with `appendfsync always`.
    EveryWrite,
    /// Everything since the last snapshot, or since the start: no append-only file.
    Memory,
    /// What the operating system had not written by itself: an append-only file with
    /// `appendfsync no`. Nothing, if only the server crashed and not the machine.
    OperatingSystem,
    /// There is an append-only file, and the server does not say how it is written.
    Unknown,
}

impl Durability {
    const fn rank(self) -> u8 {
        match self {
            Self::Memory => 0,
            Self::Unknown => 1,
            Self::OperatingSystem => 2,
            Self::EverySecond => 3,
            Self::EveryWrite => 4,
        }
    }
}

/// What a server says about itself; in a cluster, what the worst of the primaries says.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Server {
    /// The version of Redis that it is compatible with.
    pub version: String,
    /// What it loses when it crashes.
    pub durability: Durability,
    /// How many replicas are connected.
    pub replicas: usize,
    /// What it evicts when it is full. `None` if it never evicts a record, or does not say.
    pub eviction: Option<String>,
    /// How many keys it has evicted since it started. They may have been records.
    pub evicted_keys: u64,
}

impl Server {
    /// Checks that the server keeps records for as long as it was asked to, and knows the commands
    /// that the store needs.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misconfigured`] if it may evict records, or is too old.
    pub fn check(&self) -> Result<(), StoreError> {
        self.check_version()?;
        match &self.eviction {
            None => Ok(()),
            Some(policy) => Err(Error::Evicts {
                policy: policy.clone(),
            }
            .into()),
        }
    }

    pub(crate) fn check_version(&self) -> Result<(), StoreError> {
        let major = self
            .version
            .split('.')
            .next()
            .and_then(|major| major.parse::<u32>().ok());
        if major.is_some_and(|major| major < 7) {
            return Err(Error::Old {
                version: self.version.clone(),
            }
            .into());
        }
        Ok(())
    }

    /// Reads the sections of one node's `INFO`.
    fn read(info: &str, append_fsync: Option<&str>) -> Self {
        let field = |name: &str| {
            let mut fields = info
                .lines()
                .filter_map(|line| line.trim_end().split_once(':'));
            fields
                .find(|(field, _)| *field == name)
                .map(|(_, value)| value)
        };
        let number = |name: &str| field(name).and_then(|value| value.parse::<u64>().ok());
        let durability = match (field("aof_enabled"), append_fsync) {
            (Some("1"), Some("always")) => Durability::EveryWrite,
            (Some("1"), Some("everysec")) => Durability::EverySecond,
            (Some("1"), Some("no")) => Durability::OperatingSystem,
            (Some("1"), _) => Durability::Unknown,
            _ => Durability::Memory,
        };
        let limited = number("maxmemory").is_some_and(|limit| limit > 0);
        let policy = field("maxmemory_policy").filter(|policy| limited && *policy != "noeviction");
        Self {
            version: field("redis_version").unwrap_or_default().to_owned(),
            durability,
            replicas: number("connected_slaves").map_or(0, |count| count.try_into().unwrap_or(0)),
            eviction: policy.map(str::to_owned),
            evicted_keys: number("evicted_keys").unwrap_or(0),
        }
    }

    /// What two nodes can promise together.
    fn and(self, other: Self) -> Self {
        let weaker = other.durability.rank() < self.durability.rank();
        Self {
            version: self.version,
            durability: if weaker {
                other.durability
            } else {
                self.durability
            },
            replicas: self.replicas.min(other.replicas),
            eviction: self.eviction.or(other.eviction),
            evicted_keys: self.evicted_keys.saturating_add(other.evicted_keys),
        }
    }
}

impl<C> RedisStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    /// Asks the server what it promises, and says so in a `tracing` event.
    ///
    /// It needs the commands `INFO` and `CONFIG GET`. Where the user may not call them, the answer
    /// is incomplete, and the event is a warning.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]. That something is wrong with the server is [`Server::check`]'s to say.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// // It needs a server.
    /// # async fn connect(connection: redis::aio::ConnectionManager) -> Result<(), idempotent_core::StoreError> {
    /// use idempotent_redis::RedisStore;
    ///
    /// let store = RedisStore::new(connection);
    /// store.server().await?.check()?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn server(&self) -> Result<Server, StoreError> {
        let server = self.ask_server().await?;
        match &server {
            None => tracing::warn!(
                "the server does not say whether it evicts records, and what it loses in a crash"
            ),
            Some(server) if server.durability == Durability::Memory => tracing::warn!(
                version = server.version,
                replicas = server.replicas,
                "the server keeps records in memory only, and forgets them when it crashes"
            ),
            Some(server) => tracing::info!(
                version = server.version,
                durability = ?server.durability,
                replicas = server.replicas,
                "the server keeps records in a file"
            ),
        }
        Ok(server.unwrap_or_else(|| Server {
            version: String::new(),
            durability: Durability::Unknown,
            replicas: 0,
            eviction: None,
            evicted_keys: 0,
        }))
    }

    async fn ask_server(&self) -> Result<Option<Server>, Error> {
        let mut info = cmd("INFO");
        let Some(info) = self.if_allowed(info.arg("default")).await? else {
            return Ok(None);
        };
        let mut config = cmd("CONFIG");
        let config = self
            .if_allowed(config.arg("GET").arg("appendfsync"))
            .await?;
        let append_fsync = config.and_then(append_fsync);

        let read = |text: Value| -> Result<Server, Error> {
            let text: String = redis::from_redis_value(text)?;
            Ok(Server::read(&text, append_fsync.as_deref()))
        };
        let Value::Map(nodes) = info else {
            return read(info).map(Some);
        };
        // A cluster's nodes, each after its address.
        let servers = nodes
            .into_iter()
            .map(|(_, text)| read(text))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(servers.into_iter().reduce(Server::and))
    }

    /// What `command` gives, or `None` where this user may not call it, or a hosted server does not
    /// have it.
    async fn if_allowed(&self, command: &redis::Cmd) -> Result<Option<Value>, Error> {
        match command.query_async(&mut self.connection.clone()).await {
            Ok(value) => Ok(Some(value)),
            Err(error) => match error.kind() {
                ErrorKind::Server(ServerErrorKind::NoPerm | ServerErrorKind::ResponseError) => {
                    Ok(None)
                }
                _ => Err(error.into()),
            },
        }
    }
}

/// Reads the reply to `CONFIG GET appendfsync`.
fn append_fsync(config: Value) -> Option<String> {
    let settings: std::collections::HashMap<String, String> =
        redis::from_redis_value(config).ok()?;
    settings.into_values().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_nodes_promise_what_the_weaker_one_does() {
        let full = format!("redis_version:7.2.1\r\nevicted_keys:{}\r\n", u64::MAX);
        let one = Server::read(&full, None);
        let other =
            "aof_enabled:1\nconnected_slaves:2\nmaxmemory:1\nmaxmemory_policy:volatile-lru\n";
        let both = one
            .clone()
            .and(Server::read(other, Some("always")))
            .and(one);
        assert_eq!(both.durability, Durability::Memory);
        assert_eq!((both.replicas, both.evicted_keys), (0, u64::MAX));
        assert_eq!(both.eviction.as_deref(), Some("volatile-lru"));
    }
}
