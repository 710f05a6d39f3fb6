//! Rows of a foreign SQLite file: each column may hold anything. What is read is written so that it
//! reads the same; what cannot be read is refused, and left as it is.

#![no_main]

#[path = "../../idempotent-sqlite/src/columns.rs"]
mod columns;
#[path = "../../idempotent-sqlite/src/error.rs"]
#[allow(dead_code, reason = "only what reads and writes rows is needed")]
mod error;
#[path = "../../idempotent-sqlite/src/rows.rs"]
#[allow(dead_code, reason = "only what reads and writes rows is needed")]
mod rows;
#[path = "../../idempotent-sqlite/src/schema.rs"]
#[allow(dead_code, reason = "the file is not this crate's")]
mod schema;

use std::sync::Arc;
use std::time::Duration;

use idempotent_core::protocol::{ClaimRequest, Operation, apply};
use idempotent_core::{Clock, Key, Query, Record};
use idempotent_fuzz::records;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::rows::{Rows, Table};
use crate::schema::{COLUMNS, DEFAULT_TABLE, Sql};

thread_local! {
    static CONNECTION: Connection = foreign_file().expect("tables in memory");
}

fuzz_target!(|bytes: &[u8]| {
    let mut u = Unstructured::new(bytes);
    let (Ok(row), Ok(steps)) = (row(&mut u), steps(&mut u)) else {
        return;
    };
    CONNECTION.with(|connection| {
        let transaction = connection.unchecked_transaction().expect("a transaction");
        insert(connection, DEFAULT_TABLE, &row);
        steps
            .iter()
            .for_each(|step| insert(connection, "idempotency_record_step", step));
        check(connection);
        transaction.rollback().expect("an end");
    });
});

fn check(connection: &Connection) {
    let table = Table {
        sql: Arc::new(Sql::new(DEFAULT_TABLE).expect("a plain name")),
        clock: Clock::manual(),
        max_bytes: None,
    };
    let mut rows = Rows::new(connection, &table);
    _ = rows.list(&Query::all());
    _ = rows.statistics();

    let key = key();
    let stored = stored(connection);
    match rows.get(&key) {
        Err(_) => {
            let claim = Operation::Claim(request());
            assert!(
                rows.update(&key, |slot, now| apply(slot, &claim, now))
                    .is_err()
            );
            assert!(rows.update(&key, |slot, _| *slot = None).is_err());
            assert_eq!(self::stored(connection), stored, "C1g: never overwritten");
        }
        Ok(Some(mut record)) => {
            record.late ^= 1;
            let put = |slot: &mut Option<Record>, _| *slot = Some(record.clone());
            rows.update(&key, put).expect("room for what was read");
            assert_eq!(rows.get(&key).expect("a record"), Some(record));
        }
        Ok(None) => {}
    }
    _ = rows.purge(1);
}

fn key() -> Key {
    Key::new("orders.create", "7").expect("a key")
}

fn request() -> ClaimRequest {
    let owner = "7".repeat(32).parse().expect("an owner");
    let fingerprint = "9".repeat(64).parse().expect("a fingerprint");
    ClaimRequest::new(
        owner,
        fingerprint,
        Duration::from_secs(30),
        Duration::from_secs(300),
    )
}

/// Tables with the names of ours, which take values of any type.
fn foreign_file() -> rusqlite::Result<Connection> {
    let connection = Connection::open_in_memory()?;
    connection.execute_batch(&format!(
        "CREATE TABLE {DEFAULT_TABLE} ({}, PRIMARY KEY (key));
         CREATE TABLE {DEFAULT_TABLE}_step (key, seq, name, value, PRIMARY KEY (key, seq));",
        COLUMNS.join(", ")
    ))?;
    Ok(connection)
}

fn insert(connection: &Connection, table: &str, row: &[Value]) {
    let values = vec!["?"; row.len()].join(", ");
    let insert = format!("INSERT OR REPLACE INTO {table} VALUES ({values})");
    let mut insert = connection.prepare_cached(&insert).expect("a statement");
    insert.execute(params_from_iter(row)).expect("a row");
}

/// Everything in the tables.
fn stored(connection: &Connection) -> Vec<Vec<Value>> {
    let mut stored = Vec::new();
    for table in ["", "_step"] {
        let select = format!("SELECT * FROM {DEFAULT_TABLE}{table}");
        let mut select = connection.prepare_cached(&select).expect("a statement");
        let columns = select.column_count();
        let mut rows = select.query([]).expect("rows");
        while let Some(row) = rows.next().expect("a row") {
            stored.push(
                (0..columns)
                    .map(|column| row.get(column).expect("a value"))
                    .collect(),
            );
        }
    }
    stored
}

/// A row in which any column may have been changed.
fn row(u: &mut Unstructured<'_>) -> Result<Vec<Value>> {
    let mut row = sound_row(&records::record(u)?);
    let damages = u.int_in_range(0..=3)?;
    for _ in 0..damages {
        let column = u.choose_index(row.len())?;
        row[column] = value(u)?;
    }
    Ok(row)
}

fn sound_row(record: &Record) -> Vec<Value> {
    let integer = |number: u64| Value::Integer(number.cast_signed());
    let letter = |letter: char| Value::Text(letter.to_string());
    let ending = |ending: Option<idempotent_core::Ending>| {
        ending.map_or(Value::Null, |ending| letter(ending.letter()))
    };
    let keep = u64::try_from(record.keep.as_nanos()).unwrap_or(u64::MAX);
    vec![
        Value::Text(key().as_str().to_owned()),
        integer(1),
        letter(record.state.letter()),
        Value::Blob(record.owner.as_bytes().to_vec()),
        integer(record.fence.as_u64()),
        integer(record.attempt.into()),
        integer(record.failures.into()),
        ending(record.previous),
        ending(record.ending),
        integer(record.at_most_once.into()),
        Value::Blob(record.fingerprint.as_bytes().to_vec()),
        integer(record.started_at.as_micros()),
        integer(keep),
        integer(i64::MAX.unsigned_abs()),
        integer(record.late.into()),
        integer(record.waiter.into()),
        integer(record.steps.len() as u64),
        record
            .completed_at
            .map_or(Value::Null, |at| integer(at.as_micros())),
        integer(record.result.codec.as_u16().into()),
        Value::Blob(record.result.bytes.to_vec()),
    ]
}

fn steps(u: &mut Unstructured<'_>) -> Result<Vec<Vec<Value>>> {
    let count = u.int_in_range(0..=3)?;
    (0..count)
        .map(|number| {
            let mut step = vec![
                Value::Text(key().as_str().to_owned()),
                Value::Integer(number),
                Value::Text("charge".to_owned()),
                Value::Blob(Vec::new()),
            ];
            if u.ratio(1, 4)? {
                let column = u.choose_index(step.len())?;
                step[column] = value(u)?;
            }
            Ok(step)
        })
        .collect()
}

fn value(u: &mut Unstructured<'_>) -> Result<Value> {
    Ok(match u.int_in_range(0..=4)? {
        0 => Value::Null,
        1 => Value::Integer(u.arbitrary()?),
        2 => Value::Real(u.arbitrary()?),
        3 => Value::Text(u.arbitrary()?),
        _ => Value::Blob(u.arbitrary()?),
    })
}
