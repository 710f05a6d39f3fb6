use std::time::Duration;

use idempotent_core::{Message, Outbox, StoreError, Taken};
use rusqlite::Connection;

use crate::columns::{number, time};
use crate::error::Error;
use crate::rows::Rows;
use crate::store::SqliteStore;
use crate::transaction::SqliteTransaction;

/// Messages in the file, beside the records and the application's rows.
impl Outbox for SqliteStore {
    async fn stage(
        &self,
        transaction: &mut SqliteTransaction,
        message: &Message,
    ) -> Result<(), StoreError> {
        Ok(stage(
            transaction,
            &self.reader.table.sql.outbox_stage,
            message,
        )?)
    }

    async fn take(&self, limit: usize, lease: Duration) -> Result<Vec<Taken>, StoreError> {
        self.writer.call(move |rows| take(rows, limit, lease)).await
    }

    async fn remove(&self, numbers: &[i64]) -> Result<(), StoreError> {
        let numbers = numbers.to_vec();
        let remove = move |rows: &mut Rows<'_>| {
            rows.check_writable()?;
            let (connection, table) = rows.parts();
            let mut remove = connection.prepare_cached(&table.sql.outbox_remove)?;
            for number in &numbers {
                remove.execute([number])?;
            }
            Ok(())
        };
        self.writer.call(remove).await
    }

    async fn put_back(&self, number: i64, pause: Duration) -> Result<(), StoreError> {
        let put_back = move |rows: &mut Rows<'_>| {
            rows.check_writable()?;
            let (connection, table) = rows.parts();
            let due_at = time(table.clock.now().plus(pause))?;
            let mut put_back = connection.prepare_cached(&table.sql.outbox_put_back)?;
            put_back.execute((number, due_at))?;
            Ok(())
        };
        self.writer.call(put_back).await
    }
}

fn stage(connection: &Connection, sql: &str, message: &Message) -> Result<(), Error> {
    let Message {
        id, topic, payload, ..
    } = message;
    let mut stage = connection.prepare_cached(sql)?;
    stage.execute((id, topic, &**payload))?;
    Ok(())
}

fn take(rows: &Rows<'_>, limit: usize, lease: Duration) -> Result<Vec<Taken>, Error> {
    let (connection, table) = rows.parts();
    let now = table.clock.now();
    // Most looks find nothing, and need no lock for that.
    let mut waits = connection.prepare_cached(&table.sql.outbox_waits)?;
    if !waits.exists([time(now)?])? {
        return Ok(Vec::new());
    }
    rows.check_writable()?;
    let mut take = connection.prepare_cached(&table.sql.outbox_take)?;
    let values = (time(now)?, time(now.plus(lease))?, number(limit)?);
    let mut taken = Vec::new();
    let mut rows = take.query(values)?;
    while let Some(row) = rows.next()? {
        let payload: Vec<u8> = row.get(4)?;
        let message = Message::new(row.get::<_, String>(2)?, row.get::<_, String>(3)?, payload);
        taken.push(Taken::new(row.get(0)?, row.get(1)?, message));
    }
    taken.sort_unstable_by_key(|taken| taken.number);
    Ok(taken)
}
