//! The bank in one file.

use std::fs;
use std::path::{Path, PathBuf};

use idempotency::sqlite::SqliteStore;
use idempotency::sqlite::rusqlite::{Connection, Error, OptionalExtension};
use idempotency::{BoxError, Engine, Outcome, idempotent};

use crate::bank::{Books, Failure, Receipt};
use crate::requests::{ACCOUNTS, OPENING, Request};

#[derive(Clone)]
pub(crate) struct SqliteBank {
    path: PathBuf,
    store: SqliteStore,
    engine: Engine,
}

impl SqliteBank {
    pub(crate) fn open(path: &Path, fresh: bool) -> Result<Self, BoxError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let store = SqliteStore::open(path)?;
        let mut database = connect(path)?;
        let set_up = database.transaction_with_behavior(
            idempotency::sqlite::rusqlite::TransactionBehavior::Immediate,
        )?;
        if fresh {
            set_up.execute_batch(
                "DROP TABLE IF EXISTS accounts; DROP TABLE IF EXISTS ledger;
                 DELETE FROM idempotency_record;",
            )?;
        }
        set_up.execute_batch(
            "CREATE TABLE IF NOT EXISTS accounts (id INTEGER PRIMARY KEY, cents INTEGER NOT NULL);
             CREATE TABLE IF NOT EXISTS ledger (request TEXT NOT NULL, cents INTEGER NOT NULL);",
        )?;
        for account in 0..ACCOUNTS {
            set_up.execute(
                "INSERT INTO accounts VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                (i64::try_from(account)?, OPENING),
            )?;
        }
        set_up.commit()?;
        Ok(Self {
            path: path.to_owned(),
            engine: Engine::new(store.clone()),
            store,
        })
    }

    #[idempotent(
        key = request.id,
        scope = "bank.transfer",
        ttl = "7d",
        engine = self.engine,
        transaction(tx in self.store)
    )]
    pub(crate) async fn transfer(&self, request: Request) -> Result<Outcome<Receipt>, Failure> {
        let take = "UPDATE accounts SET cents = cents - ?2 WHERE id = ?1 AND cents >= ?2
                    RETURNING cents";
        let amount = (request.source, request.cents);
        let left = tx.query_row(take, amount, |row| row.get(0)).optional()?;
        if left.is_some() {
            let give = "UPDATE accounts SET cents = cents + ?2 WHERE id = ?1";
            tx.execute(give, (request.target, request.cents))?;
        }
        let row = "INSERT INTO ledger VALUES (?1, ?2)";
        let cents = if left.is_some() { request.cents } else { 0 };
        tx.execute(row, (&request.id, cents))?;
        Ok(Outcome::new(
            left.map_or(Receipt::Declined, |left| Receipt::Done { left }),
        ))
    }

    pub(crate) fn books(&self) -> Result<Books, Error> {
        let count = "SELECT (SELECT sum(cents) FROM accounts), count(*), count(DISTINCT request)
                       FROM ledger";
        connect(&self.path)?.query_row(count, (), |row| {
            Ok(Books {
                cents: row.get(0)?,
                rows: row.get(1)?,
                requests: row.get(2)?,
            })
        })
    }
}

fn connect(path: &Path) -> Result<Connection, Error> {
    let database = Connection::open(path)?;
    database.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(database)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Database(error.into())
    }
}
