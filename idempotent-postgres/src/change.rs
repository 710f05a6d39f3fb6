//! What an operation makes of a row, and the statement that writes it.

use idempotent_core::protocol::{Operation, Reply, apply};
use idempotent_core::{Key, Record};

use crate::columns::{Encoded, Looked, Steps, Stored, number, time};
use crate::error::Error;
use crate::sql::Verb;
use crate::value::Value;

/// The outcome of an operation on what was read.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) reply: Reply,
    /// What is to be written for the reply to be true, if anything.
    pub(crate) write: Option<Write>,
}

/// A row as it is to be, provided that nobody has changed it meanwhile.
#[derive(Debug)]
pub(crate) struct Write {
    record: Record,
    /// How many steps the record then has.
    steps: usize,
    /// How many of them stay as they are.
    kept: usize,
    /// How many steps of `record` precede the new ones.
    known: usize,
    before: Before,
    /// Whether those who wait are to be told.
    pub(crate) tells: bool,
}

#[derive(Clone, Copy, Debug)]
enum Before {
    /// There was no row. The new one begins with this version.
    Absent { version: i64 },
    Row {
        fence: i64,
        version: i64,
        steps: usize,
    },
}

impl Change {
    /// Applies `operation` to what was read, with the steps that [`needed`] says.
    pub(crate) fn of(looked: Looked, operation: &Operation) -> Result<Self, Error> {
        let Looked { now, stored } = looked;
        let before = match &stored {
            None => Before::Absent {
                version: time(now)?,
            },
            Some(stored) => Before::Row {
                fence: number(stored.record.fence.as_u64())?,
                version: stored.version,
                steps: stored.steps,
            },
        };
        let live = stored.filter(|stored| !stored.record.is_expired(now));
        let mut slot = live.as_ref().map(|stored| stored.record.clone());
        let reply = apply(&mut slot, operation, now);
        let write = match slot {
            Some(after) if live.as_ref().map(|live| &live.record) != Some(&after) => {
                Some(Write::new(live.as_ref(), after, before))
            }
            // An operation leaves no record where there was one, unless it has expired.
            _ => None,
        };
        Ok(Self { reply, write })
    }
}

impl Write {
    fn new(live: Option<&Stored>, record: Record, before: Before) -> Self {
        // A record that is finished has no steps. Any other keeps what it has, read or not.
        let kept = live.filter(|_| !record.state.is_finished());
        let known = kept.map_or(0, |live| live.record.steps.len());
        let kept = kept.map_or(0, |live| live.steps);
        Self {
            steps: kept + record.steps.len() - known,
            kept,
            known,
            before,
            tells: live.is_some_and(|live| live.record.waiter) && !record.waiter,
            record,
        }
    }

    pub(crate) const fn verb(&self) -> Verb {
        match self.before {
            Before::Absent { .. } => Verb::Insert,
            Before::Row { steps, .. } if self.kept == steps && self.steps == steps => Verb::Update,
            Before::Row { .. } => Verb::UpdateSteps,
        }
    }

    pub(crate) fn encode<'a>(&'a self, key: &'a Key) -> Result<Encoded<'a>, Error> {
        Encoded::new(key, &self.record, self.steps)
    }

    /// The parameters of the statement. `tell` is the message for those who wait.
    pub(crate) fn values<'a>(
        &'a self,
        encoded: &'a Encoded<'_>,
        tell: Option<&'a str>,
    ) -> Result<Vec<Value<'a>>, Error> {
        let mut values = encoded.values()?;
        values.extend(match self.before {
            Before::Absent { version } => [version.into(), Value::NO_NUMBER],
            Before::Row { fence, version, .. } => [fence.into(), version.into()],
        });
        values.push(Value::Text(tell));
        if self.verb() != Verb::Update {
            let new = &self.record.steps[self.known..];
            values.extend([
                number(self.kept)?.into(),
                Value::Blobs(new.iter().map(|step| step.name.as_bytes()).collect()),
                Value::Blobs(new.iter().map(|step| &*step.value).collect()),
            ]);
        }
        Ok(values)
    }
}

/// Which steps `operation` looks at.
pub(crate) fn needed(operation: &Operation) -> Steps<'_> {
    match operation {
        Operation::RecordStep { step, .. } => Steps::Named(&step.name),
        Operation::Complete { .. } | Operation::Release { .. } | Operation::Renew { .. } => {
            Steps::None
        }
        // A grant hands all of them over.
        _ => Steps::All,
    }
}
