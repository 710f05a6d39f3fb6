use std::fmt;
use std::mem::take;
use std::str::FromStr;

use idempotent_core::Key;
use redis::aio::ConnectionLike;
use redis::{Cmd, Value, cmd};

#[cfg(feature = "cluster")]
use crate::cluster;
use crate::error::Error;
use crate::store::RedisStore;

/// How far the keys have been gone through.
///
/// As text, it is where a page ends: a line that says where to go on, and a line for each key that
/// was found and has not been looked at. Keys have no control characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Scan {
    /// Where to ask for more; `None` if there is no more.
    at: Option<Position>,
    found: Vec<Key>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Position {
    /// The lowest slot of the node, in a cluster.
    slot: u16,
    cursor: u64,
}

impl Scan {
    pub(crate) const fn start() -> Self {
        Self {
            at: Some(Position { slot: 0, cursor: 0 }),
            found: Vec::new(),
        }
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.at.is_none() && self.found.is_empty()
    }

    /// Keeps keys for the next time.
    pub(crate) fn put_back(&mut self, keys: Vec<Key>) {
        self.found.extend(keys);
    }

    /// The next keys, about `count` of them; fewer, or none, where other keys are in between.
    pub(crate) async fn next<C>(
        &mut self,
        store: &RedisStore<C>,
        pattern: &str,
        count: usize,
    ) -> Result<Vec<Key>, Error>
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        let Some(Position { slot, cursor }) = self.at.filter(|_| self.found.is_empty()) else {
            return Ok(take(&mut self.found));
        };
        let mut scan = cmd("SCAN");
        scan.arg(cursor)
            .arg("MATCH")
            .arg(pattern)
            .arg("COUNT")
            .arg(count);
        scan.arg("TYPE").arg("string");
        let reply = store.ask_node(scan, slot).await?;
        let (cursor, keys): (u64, Vec<Vec<u8>>) = redis::from_redis_value(reply)?;
        self.at = match cursor {
            0 => store
                .node_after(slot)
                .await?
                .map(|slot| Position { slot, cursor }),
            _ => Some(Position { slot, cursor }),
        };
        let keys = keys
            .into_iter()
            .filter_map(|key| String::from_utf8(key).ok());
        Ok(keys
            .filter_map(|key| Key::parse(key.strip_prefix(&*store.prefix)?).ok())
            .collect())
    }
}

impl<C> RedisStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    /// Asks the node that has `slot`. Without a cluster, there is but one.
    async fn ask_node(&self, command: Cmd, slot: u16) -> Result<Value, Error> {
        #[cfg(feature = "cluster")]
        if let Some(connection) = cluster::connection(&self.connection) {
            return cluster::ask_node(connection, command, slot).await;
        }
        _ = slot;
        Ok(command.query_async(&mut self.connection.clone()).await?)
    }

    /// The lowest slot of the next node, after the one whose lowest slot is `slot`.
    #[cfg_attr(
        not(feature = "cluster"),
        expect(clippy::unused_async, reason = "only a cluster has to be asked")
    )]
    async fn node_after(&self, slot: u16) -> Result<Option<u16>, Error> {
        #[cfg(feature = "cluster")]
        if let Some(connection) = cluster::connection(&self.connection) {
            return cluster::node_after(connection, slot).await;
        }
        _ = slot;
        Ok(None)
    }
}

impl fmt::Display for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            None => f.write_str("end")?,
            Some(Position { slot, cursor }) => write!(f, "{slot}:{cursor}")?,
        }
        self.found
            .iter()
            .try_for_each(|key| write!(f, "\n{}", key.as_str()))
    }
}

impl FromStr for Scan {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut lines = text.split('\n');
        let at = match lines.next() {
            Some("end") => None,
            at => {
                let (slot, cursor) = at.and_then(|at| at.split_once(':')).ok_or(Error::Page)?;
                let slot = slot.parse().map_err(|_| Error::Page)?;
                let cursor = cursor.parse().map_err(|_| Error::Page)?;
                Some(Position { slot, cursor })
            }
        };
        let found = lines.map(|line| Key::parse(line).map_err(|_| Error::Page));
        Ok(Self {
            at,
            found: found.collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_page_survives_its_text() {
        let mut scan = Scan::start();
        scan.put_back(vec![
            Key::new("a/b", "c:d").unwrap(),
            Key::new("e", "f").unwrap(),
        ]);
        assert_eq!(scan.to_string().parse::<Scan>().unwrap(), scan);

        let over = Scan {
            at: None,
            found: Vec::new(),
        };
        assert_eq!(over.to_string().parse::<Scan>().unwrap(), over);
        for text in ["", "0", "0:x", "70000:0", "end\nno key"] {
            assert!(text.parse::<Scan>().is_err(), "{text}");
        }
    }
}
