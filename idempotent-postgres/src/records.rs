//! The records, as this process reads and changes them.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use idempotent_core::Key;
use idempotent_core::protocol::{Operation, Reply};
use tokio::time::sleep;
use tokio_postgres::Row;

use crate::change::{Change, Write, needed};
use crate::columns::{Looked, Steps};
use crate::error::Error;
use crate::link::Link;
use crate::notify::message;
use crate::session::Ask;
use crate::sql::{Sql, Verb};
use crate::value::Value;

/// How often a change is judged anew because others were quicker. With renewals as the only company,
/// one repetition is rare.
pub(crate) const ROUNDS: u32 = 16;
/// How long the pause before a round is at most: before the first repetition, and ever. It doubles
/// from round to round, so that a crowd on one record, such as steps that are recorded at once, thins
/// out however slow the server is.
const PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

pub(crate) struct Records {
    pub(crate) sql: Sql,
    /// For the operations.
    links: Box<[Link]>,
    /// For what may take long.
    pub(crate) inspection: Link,
    turn: AtomicUsize,
}

impl Records {
    /// There must be a link.
    pub(crate) fn new(sql: Sql, links: Box<[Link]>, inspection: Link) -> Self {
        Self {
            sql,
            links,
            inspection,
            turn: AtomicUsize::new(0),
        }
    }

    /// Judges `operation`, on what was `seen` already, if anything, and writes what comes of it. If
    /// another has changed the record meanwhile, nothing was written, and it is judged again.
    pub(crate) async fn settle(
        &self,
        key: &Key,
        operation: &Operation,
        mut seen: Option<Looked>,
    ) -> Result<Reply, Error> {
        for round in 0..ROUNDS {
            pause(round).await;
            let looked = match seen.take() {
                Some(looked) => looked,
                None => match self.look(key, needed(operation)).await {
                    Err(error) if error.is_conflict() => continue,
                    looked => looked?,
                },
            };
            let Change { reply, write } = Change::of(looked, operation)?;
            match write {
                None => return Ok(reply),
                Some(write) if self.write(key, &write).await? => return Ok(reply),
                Some(_) => {}
            }
        }
        Err(Error::Contended)
    }

    pub(crate) async fn look(&self, key: &Key, steps: Steps<'_>) -> Result<Looked, Error> {
        let values = [
            key.as_str().into(),
            Value::Flag(!matches!(steps, Steps::None)),
            match steps {
                Steps::All | Steps::None => Value::NO_BYTES,
                Steps::Named(name) => name.as_bytes().into(),
            },
        ];
        let rows = self.run(Verb::Look, &values).await?;
        Looked::read(rows.first().ok_or(Error::Reply)?, steps)
    }

    /// Whether the row was still as it had been read, and now is as `write` says.
    async fn write(&self, key: &Key, write: &Write) -> Result<bool, Error> {
        let tell = write.tells.then(|| message(key));
        let encoded = write.encode(key)?;
        let values = write.values(&encoded, tell.as_deref())?;
        self.changes(write.verb(), &values).await
    }

    /// Runs a statement that answers with a row if it has changed something.
    pub(crate) async fn changes(&self, verb: Verb, values: &[Value<'_>]) -> Result<bool, Error> {
        match self.run(verb, values).await {
            Ok(rows) => Ok(!rows.is_empty()),
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn run(&self, verb: Verb, values: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        self.link().ask(Ask::Verb(&self.sql, verb), values).await
    }

    /// The link with the least to do. Among equals they take turns.
    fn link(&self) -> &Link {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.links.len();
        let (after, before) = self.links.split_at(turn);
        let links = before.iter().chain(after);
        links
            .min_by_key(|link| link.running())
            .expect("there is a link")
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records")
            .field("links", &self.links.len())
            .finish_non_exhaustive()
    }
}

/// Lets the others of a crowd go first, each for another time.
async fn pause(round: u32) {
    if round > 0 {
        let longest = PAUSE * 2_u32.pow(round - 1);
        let longest = longest.min(LONGEST_PAUSE).as_micros();
        let random = u128::from(RandomState::new().hash_one(round));
        let micros = u64::try_from(random % longest).unwrap_or_default();
        sleep(Duration::from_micros(micros)).await;
    }
}
