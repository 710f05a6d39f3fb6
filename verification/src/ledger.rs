//! Where effects are rows: a table beside the records, and the harness's own eyes on both.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use idempotency::Key;
use idempotency::postgres::tokio_postgres::{self, Client, NoTls};
use idempotency::sqlite::rusqlite::{self, Connection};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::history::{History, Look, RowsLook};
use crate::records::{Place, Records};

/// Nothing is unique in it: what keeps a row from being there twice is that it is committed with its
/// record.
const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS ledger (key text NOT NULL, execution text NOT NULL)";
/// Another process may have the lock of a file for a moment.
const BUSY: Duration = Duration::from_secs(5);

/// A second pair of eyes on rows and records of one database.
#[derive(Debug)]
pub(crate) struct Ledger {
    rows: Rows,
    records: Records,
}

#[derive(Debug)]
enum Rows {
    Postgres(Client),
    Sqlite(Arc<Mutex<Connection>>),
}

impl Ledger {
    /// Opens the table in the database at `place`, whose records are `records`, and creates it if it is
    /// not there.
    pub(crate) async fn open(place: &Place, records: Records) -> Result<Self> {
        let rows = match place {
            Place::Memory | Place::Redis(_) => bail!("there are no rows in {place}"),
            Place::Postgres(url) => Rows::Postgres(connect_postgres(url).await?),
            Place::Sqlite(path) => Rows::Sqlite(Arc::new(Mutex::new(connect_sqlite(path)?))),
        };
        Ok(Self { rows, records })
    }

    /// Looks at the rows of `key`'s effect, at its record, and at the rows again.
    pub(crate) async fn look(&self, key: &Key, history: &mut History) -> Result<()> {
        let before = self.executions(key).await?;
        let began = Instant::now();
        let record = self.records.get(key).await?;
        let ended = Instant::now();
        let after = self.executions(key).await?;
        history.looks.push(Look {
            began,
            ended,
            record: record.clone(),
        });
        history.rows.push(RowsLook {
            before,
            record,
            after,
        });
        Ok(())
    }

    /// The executions that have written rows for `key`.
    async fn executions(&self, key: &Key) -> Result<Vec<String>> {
        let key = key.value().to_owned();
        match &self.rows {
            Rows::Postgres(client) => {
                let select = "SELECT execution FROM ledger WHERE key = $1";
                let rows = client.query(select, &[&key]).await?;
                let rows = rows.iter().map(|row| row.try_get(0));
                Ok(rows.collect::<Result<_, tokio_postgres::Error>>()?)
            }
            Rows::Sqlite(connection) => {
                let connection = Arc::clone(connection);
                let reading = spawn_blocking(move || {
                    let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
                    let select = "SELECT execution FROM ledger WHERE key = ?1";
                    let mut select = connection.prepare_cached(select)?;
                    let rows = select.query_map([key], |row| row.get(0))?;
                    rows.collect::<rusqlite::Result<Vec<String>>>()
                });
                Ok(reading.await??)
            }
        }
    }
}

async fn connect_postgres(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // It ends with the client. What goes wrong before, each query tells.
    tokio::spawn(connection);
    // Two that create it at once would not see each other.
    let create = format!("BEGIN; SELECT pg_advisory_xact_lock(1); {TABLE}; COMMIT");
    client.batch_execute(&create).await?;
    Ok(client)
}

fn connect_sqlite(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path).with_context(|| path.display().to_string())?;
    connection.busy_timeout(BUSY)?;
    connection.execute_batch(TABLE)?;
    Ok(connection)
}
