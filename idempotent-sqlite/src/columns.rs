//! A record as the columns of a row.

use std::time::Duration;

use idempotent_core::{
    CodecId, Ending, Fence, Fingerprint, Key, Owner, Payload, Record, State, Timestamp,
};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Row, Statement, params};

use crate::error::Error;
use crate::schema::{COLUMNS, FORMAT};

/// A row, but for its steps.
pub(crate) struct Stored {
    pub(crate) key: Key,
    pub(crate) record: Record,
    /// How many steps belong to it.
    pub(crate) steps: u32,
}

/// Reads a row that has all of [`COLUMNS`].
pub(crate) fn read(row: &Row<'_>) -> Result<Stored, Error> {
    let mut columns = Columns { row, next: 0 };
    let key = columns.text(|text| Key::parse(text).ok())?;
    let format = columns.number()?;
    if format != FORMAT {
        return Err(Error::NewerRow(format));
    }
    let state = columns.letter(State::from_letter)?;
    let owner = Owner::from_bytes(columns.value()?);
    let fence = columns.fence()?;
    let attempt = columns.number()?;
    let failures = columns.number()?;
    let previous = columns.optional_letter(Ending::from_letter)?;
    let ending = columns.optional_letter(Ending::from_letter)?;
    let at_most_once = columns.flag()?;
    let fingerprint = Fingerprint::from_bytes(columns.value()?);

    let mut record = Record::new(owner, fence, fingerprint);
    record.state = state;
    record.attempt = attempt;
    record.failures = failures;
    record.previous = previous;
    record.ending = ending;
    record.at_most_once = at_most_once;
    record.started_at = columns.time()?;
    record.keep = Duration::from_nanos(columns.number()?);
    record.expires_at = columns.time()?;
    record.late = columns.number()?;
    record.waiter = columns.flag()?;
    let steps = columns.number()?;
    record.completed_at = columns.optional_time()?;
    let codec = columns.number::<u16>()?;
    record.result = Payload {
        codec: CodecId::new(codec).ok_or(Error::Damaged { column: "codec" })?,
        bytes: columns.value::<Vec<u8>>()?.into(),
    };
    Ok(Stored { key, record, steps })
}

/// Runs `put`, whose parameters are [`COLUMNS`].
pub(crate) fn put(put: &mut Statement<'_>, key: &Key, record: &Record) -> Result<(), Error> {
    put.execute(params![
        key.as_str(),
        FORMAT,
        Letter(record.state.letter()),
        record.owner.as_bytes().as_slice(),
        number(record.fence.as_u64())?,
        record.attempt,
        record.failures,
        record.previous.map(|ending| Letter(ending.letter())),
        record.ending.map(|ending| Letter(ending.letter())),
        record.at_most_once,
        record.fingerprint.as_bytes().as_slice(),
        time(record.started_at)?,
        number(record.keep.as_nanos())?,
        time(record.expires_at)?,
        record.late,
        record.waiter,
        number(record.steps.len())?,
        record.completed_at.map(time).transpose()?,
        record.result.codec.as_u16(),
        &*record.result.bytes,
    ])?;
    Ok(())
}

/// SQLite's integers have 64 bits and a sign.
pub(crate) fn number<N: TryInto<i64>>(number: N) -> Result<i64, Error> {
    number.try_into().map_err(|_| Error::OutOfRange)
}

pub(crate) fn time(time: Timestamp) -> Result<i64, Error> {
    number(time.as_micros())
}

/// The columns of a row, one after the other.
struct Columns<'r> {
    row: &'r Row<'r>,
    next: usize,
}

impl Columns<'_> {
    fn value<T: FromSql>(&mut self) -> Result<T, Error> {
        let column = self.next;
        self.next += 1;
        self.row.get(column).map_err(|_| Error::Damaged {
            column: COLUMNS[column],
        })
    }

    /// Gives `value` back, if there is one, as what the column just taken holds.
    fn expect<T>(&self, value: Option<T>) -> Result<T, Error> {
        value.ok_or(Error::Damaged {
            column: COLUMNS[self.next - 1],
        })
    }

    fn text<T>(&mut self, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Error> {
        let text = self
            .row
            .get_ref(self.next)
            .ok()
            .and_then(|value| value.as_str().ok());
        self.next += 1;
        self.expect(text.and_then(parse))
    }

    fn number<N: TryFrom<i64>>(&mut self) -> Result<N, Error> {
        let number = self.value::<i64>()?;
        self.expect(N::try_from(number).ok())
    }

    fn fence(&mut self) -> Result<Fence, Error> {
        let fence = self.number::<u64>()?;
        // One that no grant can have would not leave room for the next.
        self.expect(Some(fence).filter(|fence| *fence < Fence::LIMIT))
            .map(Fence::from_u64)
    }

    fn flag(&mut self) -> Result<bool, Error> {
        let flag = self.value::<i64>()?;
        self.expect(match flag {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        })
    }

    fn time(&mut self) -> Result<Timestamp, Error> {
        self.number().map(Timestamp::from_micros)
    }

    fn optional_time(&mut self) -> Result<Option<Timestamp>, Error> {
        let Some(micros) = self.value::<Option<i64>>()? else {
            return Ok(None);
        };
        self.expect(u64::try_from(micros).ok())
            .map(|micros| Some(Timestamp::from_micros(micros)))
    }

    fn letter<T>(&mut self, meaning: fn(char) -> Option<T>) -> Result<T, Error> {
        let Letter(letter) = self.value()?;
        self.expect(meaning(letter))
    }

    fn optional_letter<T>(&mut self, meaning: fn(char) -> Option<T>) -> Result<Option<T>, Error> {
        let Some(Letter(letter)) = self.value()? else {
            return Ok(None);
        };
        self.expect(meaning(letter)).map(Some)
    }
}

/// A text of one character.
pub(crate) struct Letter(pub(crate) char);

impl FromSql for Letter {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let mut letters = value.as_str()?.chars();
        match (letters.next(), letters.next()) {
            (Some(letter), None) => Ok(Self(letter)),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

impl ToSql for Letter {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.to_string().into())
    }
}
