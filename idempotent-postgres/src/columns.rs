//! A record as the columns of a row.

use std::time::Duration;

use idempotent_core::{
    CodecId, Ending, Fence, Fingerprint, Key, Owner, Payload, Record, State, Step, Timestamp,
};

use crate::error::Error;
use crate::value::{Cell, Cells, Value};

/// The format of the rows that this version reads and writes.
pub(crate) const FORMAT: i64 = 1;

/// The columns of a record's row, in the order of every statement that reads or writes all of them.
/// A `SELECT` has the moment of reading before them, and the steps after them.
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

/// Where the columns begin in a row that was read.
const FIRST: usize = 1;
const VERSION: usize = FIRST + COLUMNS.len();
const STEP_NAMES: usize = VERSION + 1;
const STEP_VALUES: usize = VERSION + 2;
/// The column after all those of a `SELECT`.
pub(crate) const NEXT: usize = VERSION + 3;

/// What one look at a key found.
#[derive(Clone, Debug)]
pub(crate) struct Looked {
    /// The server's time when it looked.
    pub(crate) now: Timestamp,
    pub(crate) stored: Option<Stored>,
}

/// A row. Its record has the steps that were asked for.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) key: Key,
    pub(crate) record: Record,
    /// How many steps belong to it.
    pub(crate) steps: usize,
    /// Other after each write, and never the same again under the same fence.
    pub(crate) version: i64,
}

/// Which steps to read: an operation of a run with a thousand of them seldom needs any.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Steps<'a> {
    All,
    Named(&'a str),
    None,
}

impl Looked {
    /// Reads a row that may lack a record.
    pub(crate) fn read(row: &impl Cells, steps: Steps<'_>) -> Result<Self, Error> {
        let now = row.number(0).ok().flatten().ok_or(Error::Reply)?;
        let now = Timestamp::from_micros(now.unsigned_abs());
        let stored = match row.text(FIRST) {
            Ok(None) => None,
            _ => Some(Stored::read(row, steps)?),
        };
        Ok(Self { now, stored })
    }
}

impl Stored {
    pub(crate) fn read(row: &impl Cells, steps: Steps<'_>) -> Result<Self, Error> {
        let mut columns = Columns { row, next: 0 };
        let key = columns.required(Cells::text, |text| Key::parse(text).ok())?;
        let format = columns.number()?;
        if format != FORMAT {
            return Err(Error::NewerRow(format));
        }
        let state = columns.required(Cells::text, |text| State::from_letter(only(text)?))?;
        let owner = columns.required(Cells::bytes, |bytes| {
            bytes.try_into().ok().map(Owner::from_bytes)
        })?;
        let fence = columns.required(Cells::number, fence)?;
        let attempt = columns.number()?;
        let failures = columns.number()?;
        let previous = columns.optional(Cells::text, |text| Ending::from_letter(only(text)?))?;
        let ending = columns.optional(Cells::text, |text| Ending::from_letter(only(text)?))?;
        let at_most_once = columns.required(Cells::flag, Some)?;
        let fingerprint = columns.required(Cells::bytes, |bytes| {
            bytes.try_into().ok().map(Fingerprint::from_bytes)
        })?;

        let mut record = Record::new(owner, fence, fingerprint);
        record.state = state;
        record.attempt = attempt;
        record.failures = failures;
        record.previous = previous;
        record.ending = ending;
        record.at_most_once = at_most_once;
        record.started_at = columns.required(Cells::number, moment)?;
        record.keep = Duration::from_nanos(columns.number()?);
        record.expires_at = columns.required(Cells::number, moment)?;
        record.late = columns.number()?;
        record.waiter = columns.required(Cells::flag, Some)?;
        let count = columns.number()?;
        record.completed_at = columns.optional(Cells::number, moment)?;
        let codec =
            columns.required(Cells::number, |codec| CodecId::new(codec.try_into().ok()?))?;
        let bytes = columns.required(Cells::bytes, Some)?;
        record.result = Payload {
            codec,
            bytes: bytes.to_vec().into(),
        };
        record.steps = read_steps(row, steps, count)?;
        Ok(Self {
            key,
            record,
            steps: count,
            version: row.number(VERSION).ok().flatten().ok_or(Error::Reply)?,
        })
    }
}

fn read_steps(row: &impl Cells, steps: Steps<'_>, count: usize) -> Result<Vec<Step>, Error> {
    if count == 0 || matches!(steps, Steps::None) {
        return Ok(Vec::new());
    }
    let damaged = Error::Damaged { column: "steps" };
    let (Ok(Some(names)), Ok(Some(values))) = (row.blobs(STEP_NAMES), row.blobs(STEP_VALUES))
    else {
        return Err(damaged);
    };
    // A step that is missing would run again.
    if matches!(steps, Steps::All) && names.len() != count {
        return Err(damaged);
    }
    let steps = names.into_iter().zip(values).map(|(name, value)| {
        let name = String::from_utf8(name).map_err(|_| damaged.clone())?;
        let value = value.into();
        Ok(Step { name, value })
    });
    steps.collect()
}

/// A record, and the letters that its [values](Self::values) refer to.
#[derive(Debug)]
pub(crate) struct Encoded<'a> {
    key: &'a Key,
    record: &'a Record,
    steps: i64,
    letters: [String; 3],
}

impl<'a> Encoded<'a> {
    /// `steps` is how many steps belong to the record.
    pub(crate) fn new(key: &'a Key, record: &'a Record, steps: usize) -> Result<Self, Error> {
        let letter = |ending: Option<Ending>| {
            ending.map_or_else(String::new, |ending| ending.letter().to_string())
        };
        Ok(Self {
            key,
            record,
            steps: number(steps)?,
            letters: [
                record.state.letter().to_string(),
                letter(record.previous),
                letter(record.ending),
            ],
        })
    }

    /// The values of all of [`COLUMNS`].
    pub(crate) fn values(&self) -> Result<Vec<Value<'_>>, Error> {
        let record = self.record;
        let [state, previous, ending] = &self.letters;
        Ok(vec![
            self.key.as_str().into(),
            FORMAT.into(),
            state.as_str().into(),
            record.owner.as_bytes().as_slice().into(),
            number(record.fence.as_u64())?.into(),
            i64::from(record.attempt).into(),
            i64::from(record.failures).into(),
            letter_or_null(previous),
            letter_or_null(ending),
            Value::Flag(record.at_most_once),
            record.fingerprint.as_bytes().as_slice().into(),
            time(record.started_at)?.into(),
            number(record.keep.as_nanos())?.into(),
            time(record.expires_at)?.into(),
            i64::from(record.late).into(),
            Value::Flag(record.waiter),
            self.steps.into(),
            Value::Number(record.completed_at.map(time).transpose()?),
            i64::from(record.result.codec.as_u16()).into(),
            (&*record.result.bytes).into(),
        ])
    }
}

fn letter_or_null(letter: &str) -> Value<'_> {
    Value::Text(Some(letter).filter(|letter| !letter.is_empty()))
}

/// The server's integers have 64 bits and a sign.
pub(crate) fn number<N: TryInto<i64>>(number: N) -> Result<i64, Error> {
    number.try_into().map_err(|_| Error::OutOfRange)
}

pub(crate) fn time(time: Timestamp) -> Result<i64, Error> {
    number(time.as_micros())
}

/// One that no grant can have would not leave room for the next.
fn fence(number: i64) -> Option<Fence> {
    let number = u64::try_from(number).ok();
    number
        .filter(|number| *number < Fence::LIMIT)
        .map(Fence::from_u64)
}

fn moment(micros: i64) -> Option<Timestamp> {
    micros.try_into().ok().map(Timestamp::from_micros)
}

/// The only character of `text`.
pub(crate) fn only(text: &str) -> Option<char> {
    let mut chars = text.chars();
    chars.next().filter(|_| chars.next().is_none())
}

/// The columns of a row, one after the other.
struct Columns<'r, R> {
    row: &'r R,
    next: usize,
}

impl<'r, R: Cells> Columns<'r, R> {
    fn optional<C, T>(
        &mut self,
        read: fn(&'r R, usize) -> Cell<C>,
        meaning: impl FnOnce(C) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let column = COLUMNS[self.next];
        let cell = read(self.row, FIRST + self.next);
        self.next += 1;
        let damaged = || Error::Damaged { column };
        match cell.map_err(|_| damaged())? {
            None => Ok(None),
            Some(cell) => meaning(cell).map(Some).ok_or_else(damaged),
        }
    }

    fn required<C, T>(
        &mut self,
        read: fn(&'r R, usize) -> Cell<C>,
        meaning: impl FnOnce(C) -> Option<T>,
    ) -> Result<T, Error> {
        let column = COLUMNS[self.next];
        self.optional(read, meaning)?
            .ok_or(Error::Damaged { column })
    }

    fn number<N: TryFrom<i64>>(&mut self) -> Result<N, Error> {
        self.required(Cells::number, |number| N::try_from(number).ok())
    }
}
