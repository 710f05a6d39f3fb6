use anyhow::Result;
use idempotency::sqlite::SqliteStore;
use rusqlite::Connection;

use super::{APART, Bench, Names, SCOPE};
use crate::progress::Progress;
use crate::table::Table;

const NAMES: Names = Names {
    progress: "sqlite, purge",
    during: "sqlite, first calls while a purger runs / before",
    after: "sqlite, first calls after the purge / before",
    late_during: "sqlite, p99 of a first call while a purger runs / before",
    late_after: "sqlite, p99 of a first call after the purge / before",
    records: "sqlite, records purged, beside those that new ones took with them",
    rate: "sqlite, records purged in a second",
    time: "sqlite, the purge, from its first batch to its last",
};

pub(super) fn measure(bench: &Bench, progress: &Progress, table: &mut Table) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("records.db");
    let store = SqliteStore::open(&path)?;
    bench.leave_template(store.clone())?;

    let database = Connection::open(&path)?;
    let columns: String = database.query_row(
        "SELECT group_concat(name, ', ') FROM pragma_table_info('idempotency_record')
          WHERE name NOT IN ('key', 'expires_at')",
        (),
        |row| row.get(0),
    )?;
    database.execute_batch(
        "PRAGMA synchronous = OFF;
         CREATE TEMP TABLE template AS SELECT * FROM idempotency_record;",
    )?;
    let records = bench.records;
    let fill = || {
        database.execute_batch(&format!(
            "WITH RECURSIVE numbers (number) AS (
                 SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < {records})
             INSERT INTO idempotency_record ({columns}, key, expires_at)
             SELECT {columns}, '{SCOPE}/' || number, expires_at - number * {APART}
               FROM numbers, template WHERE true
             ON CONFLICT DO NOTHING;"
        ))?;
        // What was written just now is not to be part of what is measured.
        database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))?;
        Ok(())
    };
    bench.measure(&store, fill, &NAMES, progress, table)
}
