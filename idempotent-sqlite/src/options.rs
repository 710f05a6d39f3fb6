use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use idempotent_core::{Clock, StoreError, Watchers};
use rusqlite::{Connection, OpenFlags};
use tokio::time::Instant;

use crate::error::{Error, Refused};
use crate::inspect::Reader;
use crate::place;
use crate::rows::Table;
use crate::schema::{DEFAULT_TABLE, Sql};
use crate::store::SqliteStore;
use crate::transaction::Transactions;
use crate::writer::Writer;

/// How long to wait for another process that holds the lock.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long SQLite waits for the lock before it is asked to begin again, up to `BUSY_TIMEOUT`. Left
/// to itself, it would look ever less often, and of four busy processes one would starve for seconds.
pub(crate) const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// How long to pause between two looks where SQLite does not wait by itself.
const WAL_PAUSE: Duration = Duration::from_millis(10);

/// The first version with `STRICT` tables, 3.37.0.
const OLDEST_SQLITE: i32 = 3_037_000;

/// How a [`SqliteStore`] is opened.
///
/// # Examples
///
/// ```
/// use idempotent_sqlite::{Durability, SqliteStore};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("orders.db");
/// let store = SqliteStore::options()
///     .table("order_idempotency")
///     .durability(Durability::Normal)
///     .open(path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `open` is called"]
pub struct SqliteOptions {
    table: String,
    clock: Clock,
    durability: Durability,
    max_bytes: Option<u64>,
}

/// What an answer of a [`SqliteStore`] is worth when the power fails.
///
/// Either way, an answer survives the process, and its death at any moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Durability {
    /// Whatever was answered is on the disk. The default.
    #[default]
    Full,
    /// The answers of the last moments may be lost, so that their operations run a second time. Many
    /// times faster for a single caller, who need not wait for the disk.
    Normal,
}

impl SqliteOptions {
    pub(crate) fn new() -> Self {
        Self {
            table: DEFAULT_TABLE.to_owned(),
            clock: Clock::system(),
            durability: Durability::default(),
            max_bytes: None,
        }
    }

    /// Sets the name of the table, `idempotency_record` by default, and the beginning of the names of
    /// its index and of the table of steps.
    ///
    /// Letters, digits and `_`, at most 48.
    pub fn table(mut self, name: impl Into<String>) -> Self {
        self.table = name.into();
        self
    }

    /// Sets the clock by which leases and records expire. All that share a file must agree on it, as
    /// they do by default: it is the machine's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Sets what an answer is worth when the power fails.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets how much of the file may be in use, by other tables too, for a new key to be taken in. There
    /// is no limit by default.
    ///
    /// Whoever has begun can still renew, record steps and finish beyond it, which needs a little more
    /// room: leave some on the disk.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Opens the file at `path`; see [`SqliteStore::open`].
    ///
    /// # Errors
    ///
    /// See [`SqliteStore::open`]. An unusable table name is [`StoreError::Misconfigured`] too.
    pub fn open(self, path: impl AsRef<Path>) -> Result<SqliteStore, StoreError> {
        Ok(self.try_open(path.as_ref())?)
    }

    fn try_open(self, path: &Path) -> Result<SqliteStore, Error> {
        let sql = Arc::new(Sql::new(&self.table)?);
        place::check(path)?;
        if rusqlite::version_number() < OLDEST_SQLITE {
            return Err(Refused::OldSqlite(rusqlite::version()).into());
        }
        let mut connection = connect(path, self.durability)?;
        sql.migrate(&mut connection)?;

        // The working directory may change, and the file is opened again to inspect it.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let table = Table {
            sql,
            clock: self.clock,
            max_bytes: self.max_bytes,
        };
        let watchers = Watchers::new();
        let writer = Writer::spawn(connection, table.clone(), watchers.clone())?;
        let transactions = Transactions::new(path.clone(), self.durability, table.clone());
        Ok(SqliteStore {
            writer,
            watchers,
            transactions,
            reader: Reader { path, table },
        })
    }
}

pub(crate) fn connect(path: &Path, durability: Durability) -> Result<Connection, Error> {
    // Without `SQLITE_OPEN_URI`: a path is a path.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    enter_wal_mode(&connection)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    match durability {
        Durability::Full => {
            connection.pragma_update(None, "synchronous", "FULL")?;
            // On Apple's systems, `fsync` alone stops short of the disk.
            connection.pragma_update(None, "fullfsync", true)?;
        }
        Durability::Normal => connection.pragma_update(None, "synchronous", "NORMAL")?,
    }
    Ok(connection)
}

/// Begins a transaction with `begin` once the file's lock is free, for as long as another process may
/// have it.
///
/// It must be an immediate one: a deferred one that read first could not become a writing one once
/// another process has written, and would not wait for its turn either.
pub(crate) fn patiently<T>(begin: impl Fn() -> rusqlite::Result<T>) -> Result<T, Error> {
    let end = Instant::now() + BUSY_TIMEOUT;
    loop {
        match begin().map_err(Error::from) {
            Err(error) if error.is_busy() && Instant::now() < end => {}
            answer => return answer,
        }
    }
}

/// Turns the write-ahead log on, which the file then keeps.
fn enter_wal_mode(connection: &Connection) -> Result<(), Error> {
    // Two processes that turn it on at once are told that the other is in the way, and are told so
    // at once: SQLite's own timeout is not for this lock.
    let end = Instant::now() + BUSY_TIMEOUT;
    loop {
        let mode =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0));
        match mode.map_err(Error::from) {
            Ok::<String, _>(mode) if mode.eq_ignore_ascii_case("wal") => return Ok(()),
            Ok(mode) => return Err(Refused::NoWal(mode).into()),
            Err(error) if !error.is_busy() || Instant::now() >= end => return Err(error),
            Err(_) => thread::sleep(WAL_PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pragmas(durability: Durability) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("records.db");
        let connection = connect(&path, durability).unwrap();
        let pragma = |name| {
            let select = format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}");
            connection.query_row(&select, [], |row| row.get(0)).unwrap()
        };
        ["journal_mode", "synchronous", "fullfsync", "foreign_keys"]
            .map(pragma)
            .into()
    }

    /// `FULL` is 2: with less, a power failure takes back what was answered.
    #[test]
    fn by_default_an_answer_is_on_the_disk() {
        assert_eq!(pragmas(Durability::default()), ["wal", "2", "1", "1"]);
        assert_eq!(pragmas(Durability::Normal), ["wal", "1", "0", "1"]);
    }
}
