//! Rows of a foreign PostgreSQL table: each cell may hold anything, or be of another type. What is
//! read is written so that it reads the same.

#![no_main]

#[path = "../../idempotent-postgres/src/columns.rs"]
#[allow(dead_code, reason = "only what reads and writes rows is needed")]
mod columns;
#[path = "../../idempotent-postgres/src/value.rs"]
#[allow(dead_code, reason = "only what reads and writes rows is needed")]
mod value;

use idempotent_core::{Fence, Key, Record};
use idempotent_fuzz::records;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

use crate::columns::{COLUMNS, Encoded, Looked, Steps};
use crate::value::{Cell, Cells, OtherType, Value};

/// What columns can say, without the driver's errors.
mod error {
    #[derive(Clone, Debug)]
    #[allow(dead_code, reason = "what is wrong with a row is not looked at")]
    pub(crate) enum Error {
        Damaged { column: &'static str },
        NewerRow(i64),
        OutOfRange,
        Reply,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut u = Unstructured::new(bytes);
    let Ok(record) = records::record(&mut u) else {
        return;
    };
    let mut row = Row::of(&key(), &record);
    assert_eq!(row.read().as_ref(), Some(&record));

    if row.damage(&mut u).is_ok()
        && let Some(read) = row.read()
    {
        assert!(read.fence.as_u64() < Fence::LIMIT);
        assert_eq!(Row::of(&key(), &read).read(), Some(read));
    }
});

fn key() -> Key {
    Key::new("orders.create", "7").expect("a key")
}

struct Row(Vec<Datum>);

#[derive(Clone, Debug)]
enum Datum {
    Blobs(Vec<Vec<u8>>),
    Bytes(Vec<u8>),
    Flag(bool),
    Null,
    Number(i64),
    Text(String),
}

impl Row {
    /// What a `SELECT` gives of a record that was written.
    fn of(key: &Key, record: &Record) -> Self {
        let encoded = Encoded::new(key, record, record.steps.len()).expect("a few steps");
        let values = encoded.values().expect("room for what was read");
        assert_eq!(values.len(), COLUMNS.len());
        let steps = record.steps.iter();
        let (names, values_of_steps) = steps
            .map(|step| (step.name.clone().into_bytes(), step.value.to_vec()))
            .unzip();
        let moment = [Datum::Number(0)].into_iter();
        let version_and_steps = [
            Datum::Number(1),
            Datum::Blobs(names),
            Datum::Blobs(values_of_steps),
        ];
        Self(
            moment
                .chain(values.into_iter().map(Datum::from))
                .chain(version_and_steps)
                .collect(),
        )
    }

    fn read(&self) -> Option<Record> {
        let looked = Looked::read(self, Steps::All).ok()?;
        Some(looked.stored?.record)
    }

    /// Changes some cells.
    fn damage(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let damages = u.int_in_range(0..=3)?;
        for _ in 0..damages {
            let column = u.choose_index(self.0.len())?;
            self.0[column] = match u.int_in_range(0..=5)? {
                0 => Datum::Null,
                1 => Datum::Flag(u.arbitrary()?),
                2 => Datum::Number(u.arbitrary()?),
                3 => Datum::Text(u.arbitrary()?),
                4 => Datum::Bytes(u.arbitrary()?),
                _ => Datum::Blobs(u.arbitrary()?),
            };
        }
        Ok(())
    }
}

impl From<Value<'_>> for Datum {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Blobs(blobs) => Self::Blobs(blobs.into_iter().map(<[u8]>::to_vec).collect()),
            Value::Bytes(bytes) => bytes.map_or(Self::Null, |bytes| Self::Bytes(bytes.to_vec())),
            Value::Flag(flag) => Self::Flag(flag),
            Value::Number(number) => number.map_or(Self::Null, Self::Number),
            Value::Text(text) => text.map_or(Self::Null, |text| Self::Text(text.to_owned())),
        }
    }
}

macro_rules! cell {
    ($row:ident, $column:ident, $kind:ident, $cell:ident => $value:expr) => {
        match $row.0.get($column) {
            Some(Datum::$kind($cell)) => Ok(Some($value)),
            Some(Datum::Null) => Ok(None),
            _ => Err(OtherType),
        }
    };
}

impl Cells for Row {
    fn blobs(&self, column: usize) -> Cell<Vec<Vec<u8>>> {
        cell!(self, column, Blobs, blobs => blobs.clone())
    }

    fn bytes(&self, column: usize) -> Cell<&[u8]> {
        cell!(self, column, Bytes, bytes => bytes)
    }

    fn flag(&self, column: usize) -> Cell<bool> {
        cell!(self, column, Flag, flag => *flag)
    }

    fn number(&self, column: usize) -> Cell<i64> {
        cell!(self, column, Number, number => *number)
    }

    fn text(&self, column: usize) -> Cell<&str> {
        cell!(self, column, Text, text => text)
    }
}
