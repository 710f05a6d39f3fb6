//! A connection of any driver on which a transaction is open.

use std::future::Future;
use std::time::Duration;

use futures_util::TryStreamExt;
use idempotent_core::protocol::{Claim, ClaimRequest, Completion, Grant, Operation, Reply, apply};
use idempotent_core::{Key, Record};
use tokio_postgres::{Client, Row, Transaction};

use crate::change::{Change, Write, needed};
use crate::columns::{Looked, NEXT, Steps, number};
use crate::error::Error;
use crate::notify::message;
use crate::records::ROUNDS;
use crate::sql::{Sql, Verb};
use crate::store::micros;
use crate::value::{Cells, Value};

/// Sets for how long a lock is waited for, and tells what it was before.
const SET_TIMEOUT: &str =
    "SELECT current_setting('lock_timeout'), set_config('lock_timeout', $1, true)";
/// What is left of an attempt that nobody but its own transaction knows anything of.
const UNKNOWN: Duration = Duration::from_millis(50);

/// The driver's part.
pub(crate) trait Session: Send {
    type Row: Cells + Send;

    /// Runs one statement, and returns its rows. It may be prepared, by name, if it `prepares`.
    fn ask(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        prepares: bool,
    ) -> impl Future<Output = Result<Vec<Self::Row>, Error>> + Send;

    /// Runs statements without parameters.
    fn execute(&mut self, sql: &str) -> impl Future<Output = Result<(), Error>> + Send;
}

impl Session for Client {
    type Row = Row;

    async fn ask(&mut self, sql: &str, values: &[Value<'_>], _: bool) -> Result<Vec<Row>, Error> {
        let values = values.iter().map(|value| (value, value.sql_type()));
        let rows = self.query_typed_raw(sql, values).await?;
        Ok(rows.try_collect().await?)
    }

    async fn execute(&mut self, sql: &str) -> Result<(), Error> {
        Ok(self.batch_execute(sql).await?)
    }
}

impl Session for Transaction<'_> {
    type Row = Row;

    async fn ask(&mut self, sql: &str, values: &[Value<'_>], _: bool) -> Result<Vec<Row>, Error> {
        let values = values.iter().map(|value| (value, value.sql_type()));
        let rows = self.query_typed_raw(sql, values).await?;
        Ok(rows.try_collect().await?)
    }

    async fn execute(&mut self, sql: &str) -> Result<(), Error> {
        Ok(self.batch_execute(sql).await?)
    }
}

/// A claim, as the parameters of a statement.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    key: &'a Key,
    operation: Operation,
    keep: i64,
    life: i64,
    timeout: String,
}

impl<'a> Asking<'a> {
    pub(super) fn new(
        key: &'a Key,
        request: &ClaimRequest,
        patience: Duration,
    ) -> Result<Self, Error> {
        let life = micros(request.keep)?.checked_add(micros(request.lease)?);
        Ok(Self {
            key,
            operation: Operation::Claim(request.clone()),
            keep: number(request.keep.as_nanos())?,
            life: life.ok_or(Error::OutOfRange)?,
            // None at all would be for ever.
            timeout: format!("{}ms", patience.as_millis().clamp(1, i32::MAX as u128)),
        })
    }

    pub(super) fn values(&self) -> Result<[Value<'_>; 7], Error> {
        let Operation::Claim(request) = &self.operation else {
            return Err(Error::OtherReply);
        };
        Ok([
            self.key.as_str().into(),
            request.owner.as_bytes().as_slice().into(),
            request.fingerprint.as_bytes().as_slice().into(),
            Value::Flag(request.at_most_once),
            self.keep.into(),
            self.life.into(),
            self.timeout.as_str().into(),
        ])
    }

    /// What the first statement has come to, and what is to be done about it.
    pub(super) async fn judge<S: Session>(
        &self,
        session: &mut S,
        sql: &Sql,
        rows: Result<Vec<S::Row>, Error>,
        prepares: bool,
    ) -> Result<Claim, Error> {
        match self.try_judge(session, sql, rows, prepares).await {
            Err(error) if error.is_lock_timeout() => Ok(Claim::Busy {
                remaining: UNKNOWN,
                attempt: 1,
            }),
            claim => claim,
        }
    }

    async fn try_judge<S: Session>(
        &self,
        session: &mut S,
        sql: &Sql,
        rows: Result<Vec<S::Row>, Error>,
        prepares: bool,
    ) -> Result<Claim, Error> {
        let (looked, added) = {
            let rows = rows?;
            let row = rows.first().ok_or(Error::Reply)?;
            let added = row.number(NEXT).map_err(|_| Error::Reply)?;
            (Looked::read(row, Steps::All)?, added.is_some())
        };
        let reply = match looked {
            looked if added => apply(&mut None::<Record>, &self.operation, looked.now),
            looked if looked.stored.is_some() => {
                self.settle(session, sql, Some(looked), prepares).await?
            }
            // It came while the statement ran, which does not see it.
            _ => self.settle(session, sql, None, prepares).await?,
        };
        match reply {
            Reply::Claim(claim) => Ok(claim),
            _ => Err(Error::OtherReply),
        }
    }

    /// Judges what is there, and writes what comes of it, until nobody has changed it meanwhile.
    async fn settle<S: Session>(
        &self,
        session: &mut S,
        sql: &Sql,
        mut seen: Option<Looked>,
        prepares: bool,
    ) -> Result<Reply, Error> {
        for _ in 0..ROUNDS {
            let looked = match seen.take() {
                Some(looked) => looked,
                None => self.look(session, sql, prepares).await?,
            };
            let Change { reply, write } = Change::of(looked, &self.operation)?;
            match write {
                None => return Ok(reply),
                Some(write) if self.write(session, sql, &write, prepares).await? => {
                    return Ok(reply);
                }
                Some(_) => {}
            }
        }
        Err(Error::Contended)
    }

    async fn look<S: Session>(
        &self,
        session: &mut S,
        sql: &Sql,
        prepares: bool,
    ) -> Result<Looked, Error> {
        let steps = needed(&self.operation);
        let values = [self.key.as_str().into(), Value::Flag(true), Value::NO_BYTES];
        let rows = session.ask(sql.text(Verb::Look), &values, prepares).await?;
        Looked::read(rows.first().ok_or(Error::Reply)?, steps)
    }

    async fn write<S: Session>(
        &self,
        session: &mut S,
        sql: &Sql,
        write: &Write,
        prepares: bool,
    ) -> Result<bool, Error> {
        let before = set_timeout(session, &self.timeout, prepares).await?;
        let tell = write.tells.then(|| message(self.key));
        let encoded = write.encode(self.key)?;
        let values = write.values(&encoded, tell.as_deref())?;
        let written = !session
            .ask(sql.text(write.verb()), &values, prepares)
            .await?
            .is_empty();
        set_timeout(session, &before, prepares).await?;
        Ok(written)
    }
}

async fn set_timeout<S: Session>(
    session: &mut S,
    timeout: &str,
    prepares: bool,
) -> Result<String, Error> {
    let rows = session
        .ask(SET_TIMEOUT, &[timeout.into()], prepares)
        .await?;
    let before = rows.first().and_then(|row| row.text(0).ok().flatten());
    before.map(str::to_owned).ok_or(Error::Reply)
}

/// A completion, as the parameters of a statement.
#[derive(Debug)]
pub(super) struct Completing<'a> {
    key: &'a Key,
    grant: &'a Grant,
    completion: &'a Completion,
    state: String,
    tell: String,
    fence: i64,
    ttl: i64,
}

impl<'a> Completing<'a> {
    pub(super) fn new(
        key: &'a Key,
        grant: &'a Grant,
        completion: &'a Completion,
    ) -> Result<Self, Error> {
        Ok(Self {
            key,
            grant,
            completion,
            state: completion.state().letter().to_string(),
            tell: message(key),
            fence: number(grant.fence.as_u64())?,
            ttl: micros(completion.ttl)?,
        })
    }

    pub(super) fn values(&self) -> [Value<'_>; 8] {
        let payload = &self.completion.payload;
        [
            self.key.as_str().into(),
            self.grant.owner.as_bytes().as_slice().into(),
            self.fence.into(),
            self.state.as_str().into(),
            i64::from(payload.codec.as_u16()).into(),
            (&*payload.bytes).into(),
            self.ttl.into(),
            self.tell.as_str().into(),
        ]
    }
}

/// The claim was not there: see [`Sql::complete_within`].
pub(super) fn ended(error: Error) -> Error {
    const DIVISION_BY_ZERO: &str = "22012";
    if error.code() == Some(DIVISION_BY_ZERO) {
        return Error::Ended;
    }
    error
}
