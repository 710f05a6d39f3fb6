//! Creates the tables, or brings them up to date.

use tokio_postgres::Client;

use crate::error::Error;
use crate::schema::{LATEST, Tables};

/// Of all who migrate in one database, one at a time. An arbitrary number of this crate's.
const LOCK: i64 = 0x6964_656d_706f_7401;

/// Checks the version of the tables, and if it is not the latest, and `may_change` says so, leads
/// there. Any number of processes may do so at once.
pub(crate) async fn migrate(
    client: &mut Client,
    tables: &Tables,
    may_change: bool,
) -> Result<(), Error> {
    // Most of the time this is all, and it needs no right but to read.
    let found = version(client, tables).await?;
    if found == LATEST {
        return Ok(());
    }
    if !may_change || found > LATEST {
        return Err(wrong(found));
    }
    let transaction = client.transaction().await?;
    transaction
        .batch_execute(&format!(
            "SELECT pg_advisory_xact_lock({LOCK}); {}",
            tables.prepare()
        ))
        .await?;
    // Asked again, now that nobody else can migrate.
    let found = version(transaction.client(), tables).await?;
    if found > LATEST {
        return Err(wrong(found));
    }
    if found < LATEST {
        // A table of this name that is not ours makes this fail, and stays as it is.
        transaction.batch_execute(&tables.migrate(found)?).await?;
    }
    Ok(transaction.commit().await?)
}

fn wrong(found: usize) -> Error {
    if found > LATEST {
        Error::NewerTable(found)
    } else {
        Error::OldTable {
            found,
            needed: LATEST,
        }
    }
}

/// The version of the tables; 0 if there are none.
async fn version(client: &Client, tables: &Tables) -> Result<usize, Error> {
    let versions = tables.versions();
    let find = format!("SELECT 1 WHERE to_regclass('{versions}') IS NOT NULL");
    if client.query_typed(&find, &[]).await?.is_empty() {
        return Ok(0);
    }
    let select = format!(
        "SELECT version::bigint FROM {versions} WHERE name = '{}'",
        tables.table()
    );
    let rows = client.query_typed(&select, &[]).await?;
    let version = rows.first().map(|row| row.try_get::<_, i64>(0));
    // A version that no `usize` can be is not one of ours either.
    Ok(version
        .transpose()?
        .map_or(0, |version| usize::try_from(version).unwrap_or(usize::MAX)))
}
