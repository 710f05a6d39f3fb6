use idempotent_core::{
    Deletion, Entry, Inspect, Key, Page, Purged, Query, Record, State, Statistics, StoreError,
};

use crate::columns::{Looked, Steps, Stored, number, only};
use crate::error::Error;
use crate::notify::message;
use crate::records::ROUNDS;
use crate::session::Ask;
use crate::sql::Verb;
use crate::store::PostgresStore;
use crate::value::{Cells, Value};

/// How many expired records go at once: so many that others do not wait long.
const PURGE_CHUNK: usize = 5_000;

/// Looks at the records through a connection of its own, and never holds up a claim.
///
/// A damaged row makes the list that it belongs to fail, and cannot be deleted here: nobody can tell
/// whether an attempt holds it. Whoever knows deletes it with SQL.
impl Inspect for PostgresStore {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        let Looked { now, stored } = self.records.look(key, Steps::All).await?;
        let record = stored.map(|stored| stored.record);
        Ok(record.filter(|record| !record.is_expired(now)))
    }

    async fn list(&self, query: &Query) -> Result<Page, StoreError> {
        Ok(self.try_list(query).await?)
    }

    async fn delete(&self, key: &Key) -> Result<Deletion, StoreError> {
        Ok(self.try_delete(key).await?)
    }

    async fn purge(&self, batch: usize) -> Result<Purged, StoreError> {
        if batch == 0 {
            return Ok(Purged::default());
        }
        let mut purged = 0;
        while purged < batch {
            let chunk = PURGE_CHUNK.min(batch - purged);
            let removed = self.purge_chunk(chunk).await?;
            purged += removed;
            if removed < chunk {
                return Ok(Purged::new(purged, false));
            }
        }
        Ok(Purged::new(purged, true))
    }

    async fn statistics(&self) -> Result<Statistics, StoreError> {
        Ok(self.count().await?)
    }
}

impl PostgresStore {
    async fn try_list(&self, query: &Query) -> Result<Page, Error> {
        let Some((after, before)) = query.keys() else {
            return Ok(Page::default());
        };
        let state = query.state.map(|state| state.letter().to_string());
        let age = query.older_than.unwrap_or_default();
        let values = [
            after.as_str().into(),
            Value::Text(before.as_deref()),
            Value::Text(state.as_deref()),
            saturating(age.as_micros()).into(),
            // One more, to see whether there is another page.
            saturating(query.limit).saturating_add(1).into(),
        ];
        let sql = &self.records.sql;
        let list = if query.steps {
            &sql.list_steps
        } else {
            &sql.list
        };
        let rows = self
            .records
            .inspection
            .ask(Ask::Text(list), &values)
            .await?;
        let looked = rows.iter().map(|row| Looked::read(row, Steps::All));
        let looked = looked.collect::<Result<Vec<_>, Error>>()?;
        let now = looked.first().map(|looked| looked.now);
        let stored = looked.into_iter().filter_map(|looked| looked.stored);
        let entries = stored.map(|Stored { key, record, .. }| Entry::new(key, record));
        Ok(Page::of(
            entries.collect(),
            query.limit,
            now.unwrap_or_default(),
        ))
    }

    async fn try_delete(&self, key: &Key) -> Result<Deletion, Error> {
        for _ in 0..ROUNDS {
            let Looked { now, stored } = self.records.look(key, Steps::None).await?;
            let Some(stored) = stored.filter(|stored| !stored.record.is_expired(now)) else {
                return Ok(Deletion::Absent);
            };
            if stored.record.is_held(now) {
                return Ok(Deletion::InProgress);
            }
            let tell = stored.record.waiter.then(|| message(key));
            let values = [
                key.as_str().into(),
                number(stored.record.fence.as_u64())?.into(),
                stored.version.into(),
                Value::Text(tell.as_deref()),
            ];
            if self.records.changes(Verb::Delete, &values).await? {
                return Ok(Deletion::Deleted);
            }
        }
        Err(Error::Contended)
    }

    async fn purge_chunk(&self, at_most: usize) -> Result<usize, Error> {
        let values = [number(at_most)?.into()];
        let link = &self.records.inspection;
        let rows = link
            .ask(Ask::Text(&self.records.sql.purge), &values)
            .await?;
        let count = rows.first().and_then(|row| row.number(0).ok().flatten());
        count
            .and_then(|count| usize::try_from(count).ok())
            .ok_or(Error::Reply)
    }

    async fn count(&self) -> Result<Statistics, Error> {
        let link = &self.records.inspection;
        let rows = link.ask(Ask::Text(&self.records.sql.count), &[]).await?;
        let mut statistics = Statistics::default();
        for row in &rows {
            let state = row.text(0).ok().flatten();
            let state = state.and_then(|text| State::from_letter(only(text)?));
            let flag = |column| row.flag(column).ok().flatten().ok_or(Error::Reply);
            let (expired, lapsed) = (flag(1)?, flag(2)?);
            let count = row.number(3).ok().flatten().ok_or(Error::Reply)?;
            let state = state.ok_or(Error::Damaged { column: "state" })?;
            statistics.add(state, expired, lapsed, count.unsigned_abs());
        }
        Ok(statistics)
    }
}

fn saturating<N: TryInto<i64>>(number: N) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
