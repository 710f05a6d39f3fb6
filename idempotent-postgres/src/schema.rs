//! The tables.

use idempotent_core::StoreError;

use crate::error::{Error, Refused};

/// The name of the table of records, unless the options give another.
pub(crate) const DEFAULT_TABLE: &str = "idempotency_record";

/// Which table has which version, for all the tables of this crate in one schema.
const VERSIONS: &str = "idempotency_schema";

/// So that the names that are made of it are no longer than PostgreSQL's 63.
const MAX_TABLE_CHARS: usize = 48;
const MAX_SCHEMA_CHARS: usize = 63;

/// By how many bits a time is shortened in the index of expiry: to whole 67 seconds.
pub(crate) const PURGE_SHIFT: u32 = 26;

/// From each version of the tables to the next.
///
/// - `key` is [`Key::as_str`](idempotent_core::Key::as_str), compared byte by byte as keys are, which
///   is also the quickest, and safe from a change of the system's rules of sorting. `state`,
///   `previous` and `ending` are letters. Times are microseconds since the epoch. `keep_nanos` is a
///   duration, and what has to be taken off `expires_at` for the end of the lease.
/// - `purge_at` is what finds expired rows: a lower bound of `expires_at`, in units of 67 seconds. A
///   row that changes nothing but what no index has is changed in place ("HOT"), which spares both
///   indexes and most of the vacuum. A renewal never changes `purge_at`, and a completion seldom
///   does, if the ttl is not below the hour that records in progress are kept at least. Units also
///   make the index small: equal entries are stored once.
/// - No index has a column that an operation looks at beside the key. While a table is small, the
///   planner would take one such index to be as good as the primary key, and keep to it.
/// - Steps have a table of their own, because a run may record a thousand of them: in a column, each
///   would write all the earlier ones again. `steps` says how many of a record's rows there count.
///   If there are fewer, the record is damaged; if there are more, they are of an earlier life of the
///   key whose row was deleted by hand. There is no foreign key: its checks would cost each purge
///   more than the deletion does. A step's name may have any character, and a text may not.
/// - The outbox is here so that a message is committed with the rows that it is about. `due_at` is when it
///   may be taken out: in the future while somebody has it.
/// - The wide columns come first and the text last, which leaves no gaps.
const MIGRATIONS: [&str; 2] = [
    r#"
CREATE TABLE {record} (
    fence        bigint   NOT NULL,
    version      bigint   NOT NULL,
    started_at   bigint   NOT NULL,
    keep_nanos   bigint   NOT NULL,
    expires_at   bigint   NOT NULL,
    completed_at bigint,
    attempt      bigint   NOT NULL,
    failures     bigint   NOT NULL,
    late         bigint   NOT NULL,
    steps        bigint   NOT NULL,
    purge_at     bigint   NOT NULL GENERATED ALWAYS AS (
        (CASE WHEN state = 'P' THEN fence + keep_nanos / 1000 ELSE expires_at END) >> {shift}
    ) STORED,
    codec        integer  NOT NULL,
    format       smallint NOT NULL,
    at_most_once boolean  NOT NULL,
    waiter       boolean  NOT NULL,
    state        text     COLLATE "C" NOT NULL,
    previous     text     COLLATE "C",
    ending       text     COLLATE "C",
    owner        bytea    NOT NULL,
    fingerprint  bytea    NOT NULL,
    key          text     COLLATE "C" NOT NULL PRIMARY KEY,
    result       bytea    NOT NULL
) WITH (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_insert_scale_factor = 0.05
);

CREATE INDEX "{table}_expiry" ON {record} (purge_at);

CREATE TABLE {step} (
    key   text   COLLATE "C" NOT NULL,
    seq   bigint NOT NULL,
    name  bytea  NOT NULL,
    value bytea  NOT NULL,
    PRIMARY KEY (key, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.02);
"#,
    r#"
CREATE TABLE {outbox} (
    number  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    due_at  bigint NOT NULL,
    attempt bigint NOT NULL,
    id      text   COLLATE "C" NOT NULL UNIQUE,
    topic   text   NOT NULL,
    payload bytea  NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02);

CREATE INDEX "{table}_outbox_due" ON {outbox} (due_at);
"#,
];

/// The version that they lead to.
pub(crate) const LATEST: usize = MIGRATIONS.len();

/// Where the tables are.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    schema: Option<String>,
    table: String,
}

impl Tables {
    /// Both names end up in the text of statements: they must be plain.
    pub(crate) fn new(schema: Option<&str>, table: &str) -> Result<Self, Refused> {
        for (name, at_most) in [(schema, MAX_SCHEMA_CHARS), (Some(table), MAX_TABLE_CHARS)] {
            if let Some(name) = name
                && !is_plain(name, at_most)
            {
                return Err(Refused::Name(name.to_owned(), at_most));
            }
        }
        Ok(Self {
            schema: schema.map(str::to_owned),
            table: table.to_owned(),
        })
    }

    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    pub(crate) fn record(&self) -> String {
        self.qualified(&self.table)
    }

    pub(crate) fn step(&self) -> String {
        self.qualified(&format!("{}_step", self.table))
    }

    pub(crate) fn outbox(&self) -> String {
        self.qualified(&format!("{}_outbox", self.table))
    }

    pub(crate) fn versions(&self) -> String {
        self.qualified(VERSIONS)
    }

    fn qualified(&self, name: &str) -> String {
        match &self.schema {
            None => format!(r#""{name}""#),
            Some(schema) => format!(r#""{schema}"."{name}""#),
        }
    }

    /// What has to be there before the version can be noted.
    pub(crate) fn prepare(&self) -> String {
        let schema = self.schema.as_ref().map_or_else(String::new, |schema| {
            // Unlike `IF NOT EXISTS`, this needs no right to create a schema that is there.
            format!(
                r#"DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = '{schema}') THEN
        CREATE SCHEMA "{schema}";
    END IF;
END $$;

"#
            )
        });
        format!(
            "{schema}CREATE TABLE IF NOT EXISTS {versions} (
    name    text    NOT NULL PRIMARY KEY,
    version integer NOT NULL
);
",
            versions = self.versions(),
        )
    }

    /// What leads from `version` of the tables to the latest.
    pub(crate) fn migrate(&self, version: usize) -> Result<String, Error> {
        let pending = MIGRATIONS
            .get(version..)
            .ok_or(Error::NewerTable(version))?;
        let pending: String = pending
            .iter()
            .map(|migration| self.fill(migration))
            .collect();
        Ok(format!(
            "{pending}
INSERT INTO {versions} (name, version) VALUES ('{table}', {LATEST})
    ON CONFLICT (name) DO UPDATE SET version = excluded.version;
",
            versions = self.versions(),
            table = self.table,
        ))
    }

    /// All of it, for a database that has none of it.
    pub(crate) fn script(&self) -> Result<String, StoreError> {
        let (prepare, migrate) = (self.prepare(), self.migrate(0)?);
        Ok(format!("BEGIN;\n\n{prepare}{migrate}\nCOMMIT;\n"))
    }

    fn fill(&self, migration: &str) -> String {
        migration
            .replace("{record}", &self.record())
            .replace("{step}", &self.step())
            .replace("{outbox}", &self.outbox())
            .replace("{table}", &self.table)
            .replace("{shift}", &PURGE_SHIFT.to_string())
    }
}

/// Whether `name` can stand in a statement, and is not a name that PostgreSQL or this crate uses.
fn is_plain(name: &str, at_most: usize) -> bool {
    let mut chars = name.chars();
    chars
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.len() <= at_most
        && !name.starts_with("pg_")
        && name != VERSIONS
}
