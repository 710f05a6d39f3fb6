//! Which files and tables are used, and which are refused.

use std::error::Error;
use std::fs;
use std::path::Path;

use idempotent_core::protocol::Claim;
use idempotent_core::{Inspect, Query, Store, StoreError};
use idempotent_sqlite::SqliteStore;
use rusqlite::Connection;

use crate::common::{File, grant, key, request};

fn refusal(path: impl AsRef<Path>) -> StoreError {
    SqliteStore::open(path).unwrap_err()
}

/// T45.
#[test]
fn places_that_do_not_last_are_refused() {
    let uris = [
        "file::memory:?cache=shared",
        "file:records?mode=memory&cache=shared",
        "file:x.db",
    ];
    for path in ["", ":memory:"].into_iter().chain(uris) {
        let error = refusal(path);
        assert!(
            matches!(error, StoreError::Misconfigured(_)),
            "{path}: {error:?}"
        );
        assert!(error.source().is_some(), "{path}");
        assert!(!Path::new(path).exists() || path.is_empty());
    }
}

#[test]
fn a_file_that_is_not_a_database_is_left_alone() {
    let file = File::new();
    let text = "a page of text that is no database at all\n".repeat(100);
    fs::write(file.path(), &text).unwrap();
    let error = refusal(file.path());
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    assert_eq!(fs::read_to_string(file.path()).unwrap(), text);
}

#[test]
fn a_directory_that_is_not_there_is_not_made() {
    let file = File::new();
    let error = refusal(file.path().join("records.db"));
    assert!(matches!(error, StoreError::Backend(_)), "{error:?}");
    let error = refusal(file.path().parent().unwrap());
    assert!(matches!(error, StoreError::Backend(_)), "{error:?}");
}

#[test]
fn a_table_has_a_plain_name_or_none() {
    let file = File::new();
    let refused = [
        "",
        "1st",
        "two words",
        "semi;colon",
        "quo\"te",
        "quo'te",
        "a.b",
        "naïve",
        "nul\0",
        "sqlite_master",
        "SQLite_x",
        "idempotency_schema",
        "Idempotency_Schema",
        "record\"; DROP TABLE orders; --",
        &"x".repeat(49),
    ];
    for name in refused {
        let error = SqliteStore::options()
            .table(name)
            .open(file.path())
            .unwrap_err();
        assert!(
            matches!(error, StoreError::Misconfigured(_)),
            "{name}: {error:?}"
        );
    }
    assert!(!file.path().exists(), "refused before anything is opened");
}

/// Also words of the language, which are quoted.
#[tokio::test]
async fn tables_of_one_file_are_kept_apart() {
    let file = File::new();
    for name in ["_a1", "select", "Order", &"x".repeat(48)] {
        let store = SqliteStore::options()
            .table(name)
            .open(file.path())
            .unwrap();
        assert_eq!(grant(&store, &key("order")).await.attempt, 1);
        assert_eq!(store.list(&Query::all()).await.unwrap().entries.len(), 1);
    }
    // To SQLite, this is a name from above.
    let store = SqliteStore::options()
        .table("ORDER")
        .open(file.path())
        .unwrap();
    let claim = store.claim(&key("order"), &request()).await.unwrap();
    assert!(matches!(claim, Claim::Busy { .. }), "{claim:?}");
}

/// The file may be the application's own.
#[tokio::test]
async fn an_application_keeps_its_tables_and_its_version() {
    let file = File::new();
    let tables =
        "PRAGMA user_version = 7; CREATE TABLE orders (id INTEGER); INSERT INTO orders VALUES (1)";
    file.sql().execute_batch(tables).unwrap();
    grant(&file.store(), &key("order")).await;

    let sql = file.sql();
    let number = |query: &str| -> i64 { sql.query_row(query, [], |row| row.get(0)).unwrap() };
    assert_eq!(number("PRAGMA user_version"), 7);
    assert_eq!(number("SELECT id FROM orders"), 1);
}

#[test]
fn a_table_that_is_not_ours_is_left_alone() {
    let file = File::new();
    file.sql()
        .execute_batch("CREATE TABLE orders (id INTEGER)")
        .unwrap();
    let error = SqliteStore::options()
        .table("orders")
        .open(file.path())
        .unwrap_err();
    assert!(matches!(error, StoreError::Backend(_)), "{error:?}");
    let schema = "SELECT group_concat(name) FROM sqlite_schema";
    let names: String = file.sql().query_row(schema, [], |row| row.get(0)).unwrap();
    assert_eq!(names, "orders", "nothing is left half done");
}

#[tokio::test]
async fn a_migration_that_was_done_is_not_done_again() {
    let file = File::new();
    grant(&file.store(), &key("order")).await;
    let before = schema(&file.sql());
    let claim = file.store().claim(&key("order"), &request()).await.unwrap();
    assert!(matches!(claim, Claim::Busy { .. }), "{claim:?}");
    assert_eq!(schema(&file.sql()), before);
}

fn schema(sql: &Connection) -> Vec<(String, String)> {
    let mut select = sql
        .prepare("SELECT name, ifnull(sql, '') FROM sqlite_schema")
        .unwrap();
    let rows = select
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    rows.map(Result::unwrap).collect()
}

/// After a downgrade, say.
#[test]
fn tables_of_a_newer_version_are_refused() {
    let file = File::new();
    drop(file.store());
    file.sql()
        .execute("UPDATE idempotency_schema SET version = 99", [])
        .unwrap();
    let error = refusal(file.path());
    assert!(
        matches!(error, StoreError::Incompatible { .. }),
        "{error:?}"
    );
}
