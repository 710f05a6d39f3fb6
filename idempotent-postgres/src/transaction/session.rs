//! A connection of any driver on which a transaction is open.

use std::future::Future;
use std::time::Duration;

use futures_util::TryStreamExt;
use idempotent_core::Key;
use idempotent_core::protocol::{Claim, ClaimRequest, Completion, Grant, Operation, Reply, apply};
use tokio_postgres::{Client, Row, Transaction};

use crate::change::{Change, Write, needed};
use crate::columns::{Looked, Steps, number};
use crate::error::Error;
use crate::notify::message;
use crate::records::ROUNDS;
use crate::sql::{Sql, Verb};
use crate::store::{PostgresStore, Seen, claim_values, micros};
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

macro_rules! session {
    ($($connection:ty),*) => {$(
        impl Session for $connection {
            type Row = Row;

            async fn ask(
                &mut self,
                sql: &str,
                values: &[Value<'_>],
                _: bool,
            ) -> Result<Vec<Row>, Error> {
                let values = values.iter().map(|value| (value, value.sql_type()));
                let rows = self.query_typed_raw(sql, values).await?;
                Ok(rows.try_collect().await?)
            }

            async fn execute(&mut self, sql: &str) -> Result<(), Error> {
                Ok(self.batch_execute(sql).await?)
            }
        }
    )*};
}

session!(Client, Transaction<'_>);

/// A claim in a transaction.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    sql: &'a Sql,
    prepares: bool,
    key: &'a Key,
    request: &'a ClaimRequest,
    timeout: String,
}

impl<'a> Asking<'a> {
    pub(super) fn new(
        store: &'a PostgresStore,
        key: &'a Key,
        request: &'a ClaimRequest,
        patience: Duration,
    ) -> Self {
        Self {
            sql: &store.records.sql,
            prepares: store.prepares(),
            key,
            request,
            // None at all would be for ever.
            timeout: format!("{}ms", patience.as_millis().clamp(1, i32::MAX as u128)),
        }
    }

    /// The parameters of the first statement, [`Sql::claim_within`].
    pub(super) fn values(&self) -> Result<[Value<'_>; 7], Error> {
        let [key, owner, fingerprint, at_most_once, keep, life] =
            claim_values(self.key, self.request)?;
        let timeout = self.timeout.as_str().into();
        Ok([key, owner, fingerprint, at_most_once, keep, life, timeout])
    }

    /// What the first statement has come to, and what is to be done about it.
    pub(super) async fn judge<S: Session>(
        &self,
        session: &mut S,
        rows: Result<Vec<S::Row>, Error>,
    ) -> Result<Claim, Error> {
        match self.try_judge(session, rows).await {
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
        rows: Result<Vec<S::Row>, Error>,
    ) -> Result<Claim, Error> {
        let operation = Operation::Claim(self.request.clone());
        let seen = Seen::read(&rows?)?;
        let reply = match seen {
            Seen::Added(looked) => apply(&mut None, &operation, looked.now),
            Seen::There(looked) => self.settle(session, &operation, Some(looked)).await?,
            Seen::Neither => self.settle(session, &operation, None).await?,
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
        operation: &Operation,
        mut seen: Option<Looked>,
    ) -> Result<Reply, Error> {
        for _ in 0..ROUNDS {
            let looked = match seen.take() {
                Some(looked) => looked,
                None => self.look(session, needed(operation)).await?,
            };
            let Change { reply, write } = Change::of(looked, operation)?;
            match write {
                None => return Ok(reply),
                Some(write) if self.write(session, &write).await? => return Ok(reply),
                Some(_) => {}
            }
        }
        Err(Error::Contended)
    }

    async fn look<S: Session>(&self, session: &mut S, steps: Steps<'_>) -> Result<Looked, Error> {
        let values = [self.key.as_str().into(), Value::Flag(true), Value::NO_BYTES];
        let look = self.sql.text(Verb::Look);
        let rows = session.ask(look, &values, self.prepares).await?;
        Looked::read(rows.first().ok_or(Error::Reply)?, steps)
    }

    async fn write<S: Session>(&self, session: &mut S, write: &Write) -> Result<bool, Error> {
        let before = self.set_timeout(session, &self.timeout).await?;
        let tell = write.tells.then(|| message(self.key));
        let encoded = write.encode(self.key)?;
        let values = write.values(&encoded, tell.as_deref())?;
        let change = self.sql.text(write.verb());
        let rows = session.ask(change, &values, self.prepares).await?;
        self.set_timeout(session, &before).await?;
        Ok(!rows.is_empty())
    }

    async fn set_timeout<S: Session>(
        &self,
        session: &mut S,
        timeout: &str,
    ) -> Result<String, Error> {
        let values = [timeout.into()];
        let rows = session.ask(SET_TIMEOUT, &values, self.prepares).await?;
        let before = rows.first().and_then(|row| row.text(0).ok().flatten());
        before.map(str::to_owned).ok_or(Error::Reply)
    }
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

    /// The statement for it, of which the first have fewer parameters.
    pub(super) fn statement<'b>(&self, sql: &'b Sql) -> (&'b str, usize) {
        if self.grant.attempt == 1 && self.grant.steps.is_empty() {
            (&sql.complete_first_within, 7)
        } else {
            (&sql.complete_within, 8)
        }
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
