use std::path::PathBuf;

use idempotent_core::{
    Deletion, Inspect, Key, Page, Purged, Query, Record, Statistics, StoreError,
};
use rusqlite::{Connection, OpenFlags};

use crate::error::Error;
use crate::options::BUSY_TIMEOUT;
use crate::rows::{PURGE_CHUNK, Rows, Table};
use crate::store::SqliteStore;

/// What it takes to look at the file without holding up anybody's claim.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(crate) path: PathBuf,
    pub(crate) table: Table,
}

impl Reader {
    /// Runs `read` on a connection of its own, on a thread that may block.
    async fn read<T, R>(&self, read: R) -> Result<T, StoreError>
    where
        T: Send + 'static,
        R: FnOnce(&Rows<'_>) -> Result<T, Error> + Send + 'static,
    {
        let Self { path, table } = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let mut connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            // One transaction, so that a record and its steps are of the same moment.
            let transaction = connection.transaction()?;
            read(&Rows::snapshot(&transaction, &table))
        });
        Ok(reading.await.map_err(|_| Error::ThreadEnded)??)
    }
}

/// Looks at the file through a connection of its own, and never holds up a claim. Needs a Tokio
/// runtime, on whose blocking threads it runs.
///
/// A damaged row makes the list that it belongs to fail, and cannot be deleted here: nobody can tell
/// whether an attempt holds it. Whoever knows deletes it with SQL.
impl Inspect for SqliteStore {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        let key = key.clone();
        self.reader.read(move |rows| rows.get(&key)).await
    }

    async fn list(&self, query: &Query) -> Result<Page, StoreError> {
        let query = query.clone();
        self.reader.read(move |rows| rows.list(&query)).await
    }

    async fn delete(&self, key: &Key) -> Result<Deletion, StoreError> {
        let key = key.clone();
        let delete = move |rows: &mut Rows<'_>| {
            rows.update(&key, |slot, now| match slot {
                None => Deletion::Absent,
                Some(record) if record.is_held(now) => Deletion::InProgress,
                Some(_) => {
                    *slot = None;
                    Deletion::Deleted
                }
            })
        };
        self.writer.call(delete).await
    }

    async fn purge(&self, batch: usize) -> Result<Purged, StoreError> {
        if batch == 0 {
            return Ok(Purged::default());
        }
        let mut purged = 0;
        while purged < batch {
            let chunk = PURGE_CHUNK.min(batch - purged);
            let removed = self.writer.call(move |rows| rows.purge(chunk)).await?;
            purged += removed;
            if removed < chunk {
                return Ok(Purged::new(purged, false));
            }
        }
        Ok(Purged::new(purged, true))
    }

    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "the method's path is for one lifetime only"
    )]
    async fn statistics(&self) -> Result<Statistics, StoreError> {
        self.reader.read(|rows| rows.statistics()).await
    }
}
