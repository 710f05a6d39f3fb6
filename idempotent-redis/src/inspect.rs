use futures_util::future::try_join_all;
use idempotent_core::{
    Deletion, Entry, Inspect, Key, Page, Purged, Query, Record, Statistics, StoreError, Timestamp,
};
use redis::Value;
use redis::aio::ConnectionLike;

use crate::error::Error;
use crate::scan::Scan;
use crate::script::{DELETE, LOOK};
use crate::store::RedisStore;
use crate::text;
use crate::time::timestamp;

/// How many keys the server is asked for at once.
const BATCH: usize = 256;
/// How many keys a page looks at before it ends early: what is rare takes several pages to find.
const KEYS_PER_PAGE: usize = 20_000;

/// A record, and the server's time when it was read.
type Seen = (Record, Timestamp);

impl<C> RedisStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    /// Looks at what is under a key in Redis.
    async fn look(&self, redis_key: &str) -> Result<Option<Seen>, Error> {
        let look = LOOK.run(&self.connection, redis_key, &[]).await?;
        let Value::Array(parts) = look else {
            return Err(Error::Reply);
        };
        let Ok([text, end, seconds, micros]) = <[Value; 4]>::try_from(parts) else {
            return Err(Error::Reply);
        };
        let text = match text {
            Value::BulkString(text) => text,
            Value::Nil => return Ok(None),
            _ => return Err(Error::Reply),
        };
        let Value::Int(end) = end else {
            return Err(Error::Reply);
        };
        let now = timestamp(
            redis::from_redis_value(seconds)?,
            redis::from_redis_value(micros)?,
        );
        let mut record = text::read(&text.into())?;
        record.expires_at = match u64::try_from(end) {
            Ok(millis) => Timestamp::from_micros(millis.saturating_mul(1_000)),
            // Somebody took the expiry away.
            Err(_) => Timestamp::from_micros(u64::MAX),
        };
        Ok(Some((record, now)))
    }

    /// Looks at all of `keys` at once. Skips what is gone, and what is not a record.
    async fn look_at(&self, keys: Vec<Key>) -> Result<Vec<(Key, Seen)>, Error> {
        let looks = keys.into_iter().map(|key| async move {
            match self.look(&self.redis_key(&key)).await {
                Ok(seen) => Ok(seen.map(|seen| (key, seen))),
                Err(Error::Unreadable(error)) => {
                    tracing::warn!(?key, %error, "left out of a list");
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        });
        Ok(try_join_all(looks).await?.into_iter().flatten().collect())
    }

    async fn try_list(&self, query: &Query) -> Result<Page, Error> {
        let mut query = query.clone();
        let mut scan = match query.after.take() {
            None => Scan::start(),
            Some(after) => after.parse()?,
        };
        let pattern = self.pattern(query.scope.as_deref());
        let (mut entries, mut looked_at) = (Vec::new(), 0);
        let mut latest = Timestamp::default();
        while entries.len() < query.limit && looked_at < KEYS_PER_PAGE && !scan.is_over() {
            let mut keys = scan.next(self, &pattern, BATCH).await?;
            // What may not fit on the page is kept for the next one.
            scan.put_back(keys.split_off(keys.len().min(query.limit - entries.len())));
            looked_at += keys.len();
            for (key, (record, now)) in self.look_at(keys).await? {
                latest = latest.max(now);
                if query.matches(&key, &record, now) {
                    entries.push(Entry::new(key, record));
                }
            }
        }
        Ok(Page::new(
            entries,
            (!scan.is_over()).then(|| scan.to_string()),
            latest,
        ))
    }

    async fn try_delete(&self, key: &Key) -> Result<Deletion, Error> {
        let answer = DELETE
            .ask(&self.connection, &self.redis_key(key), &[])
            .await?;
        match answer.letter {
            b'A' => Ok(Deletion::Absent),
            b'B' => Ok(Deletion::InProgress),
            b'K' => Ok(Deletion::Deleted),
            // Not a record. Reading it says what is wrong with it.
            _ => Err(text::read(&answer.rest).map_or_else(Error::from, |_| Error::Reply)),
        }
    }

    async fn try_statistics(&self) -> Result<Statistics, Error> {
        let pattern = self.pattern(None);
        let (mut statistics, mut scan) = (Statistics::default(), Scan::start());
        while !scan.is_over() {
            let keys = scan.next(self, &pattern, BATCH).await?;
            for (_, (record, now)) in self.look_at(keys).await? {
                statistics.count(&record, now);
            }
        }
        Ok(statistics)
    }

    /// The pattern of all keys, or of those of one scope.
    fn pattern(&self, scope: Option<&str>) -> String {
        // The text of a key is its scope's, a slash, and its value. A scope that cannot be in a key
        // is in none.
        let key = scope.and_then(|scope| Key::new(scope, "*").ok());
        let scope = key.as_ref().map_or_else(
            || scope.unwrap_or_default(),
            |key| key.as_str().trim_end_matches('*'),
        );
        let mut pattern = String::new();
        for letter in self.prefix.chars().chain(scope.chars()) {
            if matches!(letter, '*' | '?' | '[' | ']' | '\\' | '^') {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
        pattern.push('*');
        pattern
    }
}

/// Lists come in the order in which `SCAN` finds the keys, and may repeat some.
impl<C> Inspect for RedisStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        Ok(self
            .look(&self.redis_key(key))
            .await?
            .map(|(record, _)| record))
    }

    async fn list(&self, query: &Query) -> Result<Page, StoreError> {
        Ok(self.try_list(query).await?)
    }

    async fn delete(&self, key: &Key) -> Result<Deletion, StoreError> {
        Ok(self.try_delete(key).await?)
    }

    /// Does nothing: Redis removes expired records by itself.
    async fn purge(&self, _batch: usize) -> Result<Purged, StoreError> {
        Ok(Purged::default())
    }

    async fn statistics(&self) -> Result<Statistics, StoreError> {
        Ok(self.try_statistics().await?)
    }
}
