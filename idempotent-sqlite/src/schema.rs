//! The tables, and all the SQL on them.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use crate::columns::number;
use crate::error::{Error, Refused};

/// The name of the table of records, unless the options give another.
pub(crate) const DEFAULT_TABLE: &str = "idempotency_record";

/// The format of the rows that this version reads and writes.
pub(crate) const FORMAT: i64 = 1;

/// Which table has which version, for all the tables of this crate in one file. The file's
/// `user_version` is not used for it, because the file may be the application's own.
const VERSIONS: &str = "idempotency_schema";

const MAX_NAME_CHARS: usize = 48;

/// The columns of a record's row, in the order of every statement. The result comes last, so that
/// whatever does not need it need not read past it.
pub(crate) const COLUMNS: [&str; 20] = [
    "key",
    "format",
    "state",
    "owner",
    "fence",
    "attempt",
    "failures",
    "previous",
    "ending",
    "at_most_once",
    "fingerprint",
    "started_at",
    "keep_nanos",
    "expires_at",
    "late",
    "waiter",
    "steps",
    "completed_at",
    "codec",
    "result",
];

/// From each version of the tables to the next. `{table}` stands for the name of the table.
///
/// - `key` is [`Key::as_str`](idempotent_core::Key::as_str); `state`, `previous` and `ending` are
///   letters. Times are microseconds since the epoch. `keep_nanos` is a duration, and what has to be
///   taken off `expires_at` for the end of the lease.
/// - Steps have a table of their own, because a run may record a thousand of them: in a column, each
///   would write all the earlier ones again. `steps` says how many of a record's rows there count.
///   If there are fewer, the record is damaged; if there are more, they are of an earlier life of the
///   key whose row was deleted without `foreign_keys`.
/// - A purge must find expired rows without a look at the others, and must leave rows of another
///   format alone: hence the columns of the index.
/// - The outbox is here, and not in a file of its own, so that a message is committed with the rows that
///   it is about. `due_at` is when it may be taken out: in the future while somebody has it.
const MIGRATIONS: [&str; 2] = [
    r#"
    CREATE TABLE "{table}" (
        key          TEXT    NOT NULL PRIMARY KEY,
        format       INTEGER NOT NULL,
        state        TEXT    NOT NULL,
        owner        BLOB    NOT NULL,
        fence        INTEGER NOT NULL,
        attempt      INTEGER NOT NULL,
        failures     INTEGER NOT NULL,
        previous     TEXT,
        ending       TEXT,
        at_most_once INTEGER NOT NULL,
        fingerprint  BLOB    NOT NULL,
        started_at   INTEGER NOT NULL,
        keep_nanos   INTEGER NOT NULL,
        expires_at   INTEGER NOT NULL,
        late         INTEGER NOT NULL,
        waiter       INTEGER NOT NULL,
        steps        INTEGER NOT NULL,
        completed_at INTEGER,
        codec        INTEGER NOT NULL,
        result       BLOB    NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE INDEX "{table}_expiry" ON "{table}" (format, expires_at);

    CREATE TABLE "{table}_step" (
        key   TEXT    NOT NULL REFERENCES "{table}" (key) ON DELETE CASCADE,
        seq   INTEGER NOT NULL,
        name  TEXT    NOT NULL,
        value BLOB    NOT NULL,
        PRIMARY KEY (key, seq)
    ) STRICT, WITHOUT ROWID;
"#,
    r#"
    CREATE TABLE "{table}_outbox" (
        number  INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        id      TEXT    NOT NULL UNIQUE,
        topic   TEXT    NOT NULL,
        payload BLOB    NOT NULL,
        attempt INTEGER NOT NULL,
        due_at  INTEGER NOT NULL
    ) STRICT;

    CREATE INDEX "{table}_outbox_due" ON "{table}_outbox" (due_at);
"#,
];

/// The version that they lead to.
const LATEST: usize = MIGRATIONS.len();

/// The statements on one table.
#[derive(Debug)]
pub(crate) struct Sql {
    table: String,
    pub(crate) count: String,
    pub(crate) delete: String,
    pub(crate) delete_steps: String,
    pub(crate) list: String,
    pub(crate) list_steps: String,
    pub(crate) outbox_put_back: String,
    pub(crate) outbox_remove: String,
    pub(crate) outbox_stage: String,
    pub(crate) outbox_take: String,
    pub(crate) outbox_waits: String,
    pub(crate) load: String,
    pub(crate) load_steps: String,
    pub(crate) purge: String,
    pub(crate) put: String,
    pub(crate) put_step: String,
}

impl Sql {
    /// The statements on `table`, which ends up in their text: it must be a plain name.
    pub(crate) fn new(table: &str) -> Result<Self, Refused> {
        if !is_plain(table) {
            return Err(Refused::TableName(table.to_owned()));
        }
        let columns = COLUMNS.join(", ");
        let values = (1..=COLUMNS.len())
            .map(|n| format!("?{n}"))
            .collect::<Vec<_>>()
            .join(", ");
        let changes = COLUMNS[1..].iter().map(|c| format!("{c} = excluded.{c}"));
        let changes = changes.collect::<Vec<_>>().join(", ");
        let list = |which: &str| {
            format!(
                r#"SELECT {columns} FROM "{table}"
                   WHERE {which} AND key > ?1 AND key < ?2 AND (?3 IS NULL OR state = ?3)
                   ORDER BY key"#
            )
        };
        Ok(Self {
            table: table.to_owned(),
            count: format!(
                r#"SELECT state, expires_at <= ?1, expires_at - keep_nanos / 1000 <= ?1, count(*)
                   FROM "{table}" GROUP BY 1, 2, 3"#
            ),
            delete: format!(r#"DELETE FROM "{table}" WHERE key = ?1"#),
            delete_steps: format!(r#"DELETE FROM "{table}_step" WHERE key = ?1"#),
            list: list("TRUE"),
            // Only what is unfinished has steps, so this does not look at the rest.
            list_steps: list(&format!(
                r#"key IN (SELECT key FROM "{table}_step" WHERE key > ?1 AND key < ?2)"#
            )),
            outbox_put_back: format!(
                r#"UPDATE "{table}_outbox" SET due_at = ?2 WHERE number = ?1"#
            ),
            outbox_remove: format!(r#"DELETE FROM "{table}_outbox" WHERE number = ?1"#),
            outbox_stage: format!(
                r#"INSERT INTO "{table}_outbox" (id, topic, payload, attempt, due_at)
                   VALUES (?1, ?2, ?3, 0, 0)"#
            ),
            outbox_take: format!(
                r#"UPDATE "{table}_outbox" SET due_at = ?2, attempt = attempt + 1
                   WHERE number IN (
                       SELECT number FROM "{table}_outbox" WHERE due_at <= ?1
                       ORDER BY number LIMIT ?3)
                   RETURNING number, attempt, id, topic, payload"#
            ),
            outbox_waits: format!(r#"SELECT 1 FROM "{table}_outbox" WHERE due_at <= ?1"#),
            load: format!(r#"SELECT {columns} FROM "{table}" WHERE key = ?1"#),
            load_steps: format!(
                r#"SELECT name, value FROM "{table}_step" WHERE key = ?1 AND seq < ?2 ORDER BY seq"#
            ),
            purge: format!(
                r#"DELETE FROM "{table}" WHERE key IN (
                       SELECT key FROM "{table}" WHERE format = {FORMAT} AND expires_at <= ?1
                       ORDER BY expires_at LIMIT ?2)"#
            ),
            put: format!(
                r#"INSERT INTO "{table}" ({columns}) VALUES ({values})
                   ON CONFLICT (key) DO UPDATE SET {changes}"#
            ),
            put_step: format!(
                r#"INSERT INTO "{table}_step" (key, seq, name, value) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (key, seq) DO UPDATE SET name = excluded.name, value = excluded.value"#
            ),
        })
    }

    /// Creates the tables, or brings them up to date. Two processes may do so at once.
    pub(crate) fn migrate(&self, connection: &mut Connection) -> Result<(), Error> {
        if self.version(connection)? == LATEST {
            return Ok(());
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS {VERSIONS} (
                 name    TEXT    NOT NULL PRIMARY KEY COLLATE NOCASE,
                 version INTEGER NOT NULL
             ) STRICT, WITHOUT ROWID"
        ))?;
        // Asked again, now that nobody else can migrate.
        let version = self.version(&transaction)?;
        let Some(pending) = MIGRATIONS.get(version..) else {
            return Err(Error::NewerTable(version));
        };
        for migration in pending {
            // A table of this name that is not ours makes this fail, and stays as it is.
            transaction.execute_batch(&migration.replace("{table}", &self.table))?;
        }
        transaction.execute(
            &format!(
                "INSERT INTO {VERSIONS} (name, version) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET version = excluded.version"
            ),
            (&self.table, number(LATEST)?),
        )?;
        Ok(transaction.commit()?)
    }

    /// The version of the tables; 0 if there are none.
    fn version(&self, connection: &Connection) -> Result<usize, Error> {
        let find = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1";
        if !connection.prepare(find)?.exists([VERSIONS])? {
            return Ok(0);
        }
        let select = format!("SELECT version FROM {VERSIONS} WHERE name = ?1");
        let version = connection
            .query_row(&select, [&self.table], |row| row.get(0))
            .optional()?;
        // A version that no `usize` can be is not one of ours either.
        Ok(version.map_or(0, |version: i64| {
            usize::try_from(version).unwrap_or(usize::MAX)
        }))
    }
}

/// Whether `name` can stand in a statement, and is not a name that SQLite or this crate uses.
fn is_plain(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let mut chars = lower.chars();
    chars
        .next()
        .is_some_and(|first| first.is_ascii_lowercase() || first == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.len() <= MAX_NAME_CHARS
        && !lower.starts_with("sqlite_")
        && lower != VERSIONS
}
