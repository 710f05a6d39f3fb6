use anyhow::Result;
use idempotency::postgres::PostgresStore;
use idempotent_testkit::server::PostgresServer;

use super::{APART, Bench, Names, SCOPE, TEMPLATE};
use crate::progress::Progress;
use crate::table::Table;

const NAMES: Names = Names {
    progress: "postgres, purge",
    during: "postgres, first calls while a purger runs / before",
    after: "postgres, first calls after the purge / before",
    late_during: "postgres, p99 of a first call while a purger runs / before",
    late_after: "postgres, p99 of a first call after the purge / before",
    records: "postgres, records purged",
    rate: "postgres, records purged in a second",
    time: "postgres, the purge, from its first batch to its last",
};
/// It flushes to the disk, as a server does by default, and has its default memory.
const SETTINGS: [(&str, &str); 2] = [("shared_buffers", "128MB"), ("synchronous_commit", "on")];

pub(super) fn measure(bench: &Bench, progress: &Progress, table: &mut Table) -> Result<()> {
    let mut builder = PostgresServer::builder().durable();
    for (name, value) in SETTINGS {
        builder = builder.setting(name, value);
    }
    let server = builder.start()?;
    let store = bench
        .runtime
        .block_on(PostgresStore::connect(server.url()))?;
    bench.leave_template(store.clone())?;
    let columns = server.ask(
        "SELECT string_agg(quote_ident(column_name), ', ') FROM information_schema.columns
          WHERE table_name = 'idempotency_record' AND is_generated = 'NEVER'
            AND column_name NOT IN ('key', 'expires_at')",
    )?;
    let (columns, records) = (columns.trim(), bench.records);
    let fill = || {
        server.ask(&format!(
            "INSERT INTO idempotency_record ({columns}, key, expires_at)
             SELECT {columns}, '{SCOPE}/' || number, expires_at - number * {APART}
               FROM idempotency_record, generate_series(1::bigint, {records}) number
              WHERE key = '{SCOPE}/{TEMPLATE}'
             ON CONFLICT DO NOTHING"
        ))?;
        // What was written just now is not to be part of what is measured.
        server.ask("VACUUM ANALYZE idempotency_record")?;
        server.ask("CHECKPOINT")?;
        Ok(())
    };
    bench.measure(&store, fill, &NAMES, progress, table)
}
