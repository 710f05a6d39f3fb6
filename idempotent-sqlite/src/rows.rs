//! The records, as one transaction sees and changes them.

use std::sync::Arc;

use idempotent_core::{
    Clock, Ending, Entry, Key, Page, Query, Record, State, Statistics, Step, Timestamp,
};
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::columns::{self, Letter, Stored, number, time};
use crate::error::Error;
use crate::schema::Sql;

/// How many expired records may go for each that comes, so that the file does not grow for ever
/// though nobody purges it.
const PURGED_PER_RECORD: usize = 2;

/// How many expired records go at once: so many that others do not wait long.
pub(crate) const PURGE_CHUNK: usize = 500;

/// Where the records are, and what goes for all of them.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) sql: Arc<Sql>,
    pub(crate) clock: Clock,
    /// How many bytes of the file may be in use for a new record to be taken in.
    pub(crate) max_bytes: Option<u64>,
}

/// The records in an open transaction.
#[derive(Debug)]
pub(crate) struct Rows<'t> {
    connection: &'t Connection,
    table: &'t Table,
    sql: &'t Sql,
    writable: bool,
    added: usize,
    awaited: Vec<Key>,
}

impl<'t> Rows<'t> {
    /// The records in `connection`'s write transaction.
    pub(crate) fn new(connection: &'t Connection, table: &'t Table) -> Self {
        let (sql, awaited) = (&*table.sql, Vec::new());
        Self {
            connection,
            table,
            sql,
            writable: true,
            added: 0,
            awaited,
        }
    }

    /// The records in `connection`'s read transaction, where every change is [`Error::Changes`].
    pub(crate) fn snapshot(connection: &'t Connection, table: &'t Table) -> Self {
        Self {
            writable: false,
            ..Self::new(connection, table)
        }
    }

    /// What it takes to read and write other tables of the same file.
    pub(crate) const fn parts(&self) -> (&'t Connection, &'t Table) {
        (self.connection, self.table)
    }

    /// The keys whose attempt has ended while somebody waited for it.
    pub(crate) fn into_awaited(self) -> Vec<Key> {
        self.awaited
    }

    /// Runs `change` on the record under `key`, and keeps what it leaves.
    pub(crate) fn update<R>(
        &mut self,
        key: &Key,
        change: impl FnOnce(&mut Option<Record>, Timestamp) -> R,
    ) -> Result<R, Error> {
        let stored = self.load(key)?;
        // Now, and not before the transaction began: that may have waited long for its lock.
        let now = self.table.clock.now();
        let before = stored.filter(|record| !record.is_expired(now));
        let mut after = before.clone();
        let reply = change(&mut after, now);
        if after != before {
            self.check_writable()?;
            if before.is_none() && !is_healed(after.as_ref()) {
                self.make_room()?;
            }
            match &after {
                Some(after) => self.put(key, before.as_ref(), after)?,
                None => self.delete(key)?,
            }
            self.added += usize::from(before.is_none());
            if is_awaited(before.as_ref()) && !is_awaited(after.as_ref()) {
                self.awaited.push(key.clone());
            }
        }
        Ok(reply)
    }

    /// The record under `key`, unless it has expired.
    pub(crate) fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        let stored = self.load(key)?;
        let now = self.table.clock.now();
        Ok(stored.filter(|record| !record.is_expired(now)))
    }

    /// Removes up to `at_most` expired records. Returns how many.
    pub(crate) fn purge(&mut self, at_most: usize) -> Result<usize, Error> {
        self.check_writable()?;
        let mut purge = self.connection.prepare_cached(&self.sql.purge)?;
        Ok(purge.execute((time(self.table.clock.now())?, number(at_most)?))?)
    }

    /// Removes expired records, in proportion to the new ones of this transaction.
    pub(crate) fn purge_in_passing(&mut self) -> Result<(), Error> {
        if self.added > 0 {
            // One statement for all of them: it costs as much as a claim.
            self.purge(PURGED_PER_RECORD * self.added)?;
        }
        Ok(())
    }

    /// See [`Inspect::list`](idempotent_core::Inspect::list).
    pub(crate) fn list(&self, query: &Query) -> Result<Page, Error> {
        let Some((after, before)) = query.keys() else {
            return Ok(Page::default());
        };
        // To SQLite, every text is less than any blob.
        let before = before.map_or_else(|| Value::Blob(Vec::new()), Value::Text);
        let state = query.state.map(|state| Letter(state.letter()));
        let now = self.table.clock.now();

        let sql = if query.steps {
            &self.sql.list_steps
        } else {
            &self.sql.list
        };
        let mut list = self.connection.prepare(sql)?;
        let mut rows = list.query((after, before, state))?;
        let mut entries = Vec::new();
        while entries.len() <= query.limit
            && let Some(row) = rows.next()?
        {
            let stored = columns::read(row)?;
            let key = stored.key.clone();
            let record = self.with_steps(stored)?;
            if query.matches(&key, &record, now) {
                entries.push(Entry::new(key, record));
            }
        }
        Ok(Page::of(entries, query.limit, now))
    }

    /// Counts the records.
    pub(crate) fn statistics(&self) -> Result<Statistics, Error> {
        let mut statistics = Statistics::default();
        let mut count = self.connection.prepare(&self.sql.count)?;
        let mut rows = count.query([time(self.table.clock.now())?])?;
        while let Some(row) = rows.next()? {
            let state = row
                .get::<_, Letter>(0)
                .ok()
                .and_then(|Letter(l)| State::from_letter(l));
            let (expired, lapsed) = (row.get(1)?, row.get(2)?);
            let records = row.get::<_, i64>(3)?.unsigned_abs();
            let state = state.ok_or(Error::Damaged { column: "state" })?;
            statistics.add(state, expired, lapsed, records);
        }
        Ok(statistics)
    }

    fn load(&self, key: &Key) -> Result<Option<Record>, Error> {
        let mut load = self.connection.prepare_cached(&self.sql.load)?;
        let mut rows = load.query([key.as_str()])?;
        rows.next()?
            .map(|row| self.with_steps(columns::read(row)?))
            .transpose()
    }

    fn with_steps(&self, stored: Stored) -> Result<Record, Error> {
        let Stored {
            key,
            mut record,
            steps,
        } = stored;
        if steps == 0 {
            return Ok(record);
        }
        let mut load = self.connection.prepare_cached(&self.sql.load_steps)?;
        let mut rows = load.query((key.as_str(), steps))?;
        while let Some(row) = rows.next()? {
            let value: Vec<u8> = row.get(1)?;
            record.steps.push(Step {
                name: row.get(0)?,
                value: value.into(),
            });
        }
        // A step that is missing would run again.
        if usize::try_from(steps) == Ok(record.steps.len()) {
            Ok(record)
        } else {
            Err(Error::Damaged { column: "steps" })
        }
    }

    fn put(&self, key: &Key, before: Option<&Record>, after: &Record) -> Result<(), Error> {
        let mut put = self.connection.prepare_cached(&self.sql.put)?;
        columns::put(&mut put, key, after)?;

        let before = before
            .map(|before| before.steps.as_slice())
            .unwrap_or_default();
        let kept = if after.steps.starts_with(before) {
            before.len()
        } else {
            0
        };
        if after.steps.is_empty() && !before.is_empty() {
            self.connection
                .prepare_cached(&self.sql.delete_steps)?
                .execute([key.as_str()])?;
        }
        for (seq, step) in after.steps.iter().enumerate().skip(kept) {
            let mut put = self.connection.prepare_cached(&self.sql.put_step)?;
            put.execute((key.as_str(), number(seq)?, &step.name, &*step.value))?;
        }
        Ok(())
    }

    fn delete(&self, key: &Key) -> Result<(), Error> {
        self.connection
            .prepare_cached(&self.sql.delete)?
            .execute([key.as_str()])?;
        Ok(())
    }

    /// Refuses a new record if there is no room for one, even without those that have expired.
    fn make_room(&mut self) -> Result<(), Error> {
        match self.table.max_bytes {
            Some(limit) if self.used()? >= limit => {
                self.purge(PURGE_CHUNK)?;
                if self.used()? >= limit {
                    Err(Error::NoRoom(limit))
                } else {
                    Ok(())
                }
            }
            Some(_) | None => Ok(()),
        }
    }

    /// How many bytes of the file are in use.
    fn used(&self) -> Result<u64, Error> {
        let pragma = |name: &str| {
            let mut pragma = self.connection.prepare_cached(&format!("PRAGMA {name}"))?;
            pragma.query_row([], |row| row.get::<_, i64>(0))
        };
        let pages = pragma("page_count")? - pragma("freelist_count")?;
        Ok((pages * pragma("page_size")?).unsigned_abs())
    }

    pub(crate) const fn check_writable(&self) -> Result<(), Error> {
        if self.writable {
            Ok(())
        } else {
            Err(Error::Changes)
        }
    }
}

fn is_awaited(record: Option<&Record>) -> bool {
    record.is_some_and(|record| record.waiter)
}

/// Whether the record is written anew by an attempt that has begun before.
fn is_healed(record: Option<&Record>) -> bool {
    record.is_some_and(|record| record.previous == Some(Ending::Healed))
}
