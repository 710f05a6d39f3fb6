use std::sync::Arc;
use std::time::Duration;

use idempotent_core::protocol::{
    Claim, ClaimRequest, Completion, Failures, Grant, Holder, Operation, Release, ReleaseMode,
    Reply, StepReply, Update, apply,
};
use idempotent_core::{Key, Step, Store, StoreError, Watch};

use crate::columns::{Looked, NEXT, Steps, number};
use crate::error::Error;
use crate::notify::Notifications;
use crate::options::PostgresOptions;
use crate::records::Records;
use crate::sql::Verb;
use crate::value::{Cells, Value};

/// Records in a PostgreSQL database. The [crate] says what is promised, and what is not.
///
/// # Speed
///
/// A first call takes two statements, a replay one, and each statement is one round trip. Few
/// connections carry the statements of all callers, one after the other without a pause: see
/// [`PostgresOptions::connections`]. Only what changes something waits for the server's disk.
///
/// # Clone
///
/// Clones share the connections. Connect once in a process, and clone.
///
/// # Examples
///
/// ```no_run
/// // It needs a server.
/// # async fn connect() -> Result<(), idempotent_core::StoreError> {
/// use idempotent_postgres::PostgresStore;
///
/// let store = PostgresStore::connect("postgres://app@localhost/shop").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PostgresStore {
    pub(crate) records: Arc<Records>,
    pub(crate) notifications: Option<Arc<Notifications>>,
}

impl PostgresStore {
    /// Connects to the database that `url` names, as in `postgres://user:password@host/database`, and
    /// creates the tables if they are not there.
    ///
    /// # Errors
    ///
    /// - [`StoreError::Misconfigured`] if the server is older than version 13 or a standby, if the
    ///   user may not enter or has no right to create the tables, or if `url` cannot be read.
    /// - [`StoreError::Incompatible`] if a newer version of this library has changed the tables.
    /// - [`StoreError::Unavailable`] if the server cannot be reached.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::options().connect(url).await
    }

    /// Options, for all that is not as usual.
    pub fn options() -> PostgresOptions {
        PostgresOptions::new()
    }

    /// Runs one of the shortcuts, and says whether it applied.
    async fn shortcut(
        &self,
        verb: Verb,
        key: &Key,
        holder: Holder,
        more: &[Value<'_>],
    ) -> Result<bool, Error> {
        let Some(fence) = holder.fence else {
            return Ok(false);
        };
        let mut values = vec![
            key.as_str().into(),
            holder.owner.as_bytes().as_slice().into(),
            number(fence.as_u64())?.into(),
        ];
        values.extend_from_slice(more);
        // What does not apply, or met another's change, is judged in full, on what is there by now.
        self.records.changes(verb, &values).await
    }

    async fn update(&self, key: &Key, operation: Operation) -> Result<Update, Error> {
        match self.records.settle(key, &operation, None).await? {
            Reply::Update(update) => Ok(update),
            _ => Err(Error::OtherReply),
        }
    }

    async fn try_claim(&self, key: &Key, request: &ClaimRequest) -> Result<Claim, Error> {
        let operation = Operation::Claim(request.clone());
        let reply = match self.insert_or_look(key, request).await {
            Ok(Seen::Added(looked)) => apply(&mut None, &operation, looked.now),
            Ok(Seen::There(looked)) => self.records.settle(key, &operation, Some(looked)).await?,
            Ok(Seen::Neither) => self.records.settle(key, &operation, None).await?,
            Err(error) if error.is_conflict() => self.records.settle(key, &operation, None).await?,
            Err(error) => return Err(error),
        };
        match reply {
            Reply::Claim(claim) => Ok(claim),
            _ => Err(Error::OtherReply),
        }
    }

    async fn insert_or_look(&self, key: &Key, request: &ClaimRequest) -> Result<Seen, Error> {
        let values = claim_values(key, request)?;
        Seen::read(&self.records.run(Verb::Claim, &values).await?)
    }

    async fn try_complete(
        &self,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<Update, Error> {
        let letter = completion.state().letter().to_string();
        let more = [
            letter.as_str().into(),
            i64::from(completion.payload.codec.as_u16()).into(),
            (&*completion.payload.bytes).into(),
            micros(completion.ttl)?.into(),
        ];
        if self
            .shortcut(Verb::Complete, key, grant.holder(), &more)
            .await?
        {
            return Ok(Update::Applied);
        }
        let (grant, completion) = (grant.clone(), completion.clone());
        self.update(key, Operation::Complete { grant, completion })
            .await
    }

    async fn try_release(
        &self,
        key: &Key,
        holder: &Holder,
        release: Release,
    ) -> Result<Update, Error> {
        let ending = release.ending.letter().to_string();
        // To begin the count of failures anew is rare enough for the long way.
        let failures = match release.failures {
            Failures::Count => Some(1_i64),
            Failures::Keep => Some(0),
            _ => None,
        };
        if let (ReleaseMode::Free, Some(failures)) = (release.mode, failures) {
            let more = [ending.as_str().into(), failures.into()];
            if self.shortcut(Verb::Release, key, *holder, &more).await? {
                return Ok(Update::Applied);
            }
        }
        let holder = *holder;
        self.update(key, Operation::Release { holder, release })
            .await
    }

    async fn try_record_step(
        &self,
        key: &Key,
        grant: &Grant,
        step: &Step,
        lease: Duration,
    ) -> Result<StepReply, Error> {
        let values = step_values(key, grant, step, lease)?;
        if self.records.changes(Verb::RecordStep, &values).await? {
            return Ok(StepReply::Recorded);
        }
        let (grant, step) = (grant.clone(), step.clone());
        let operation = Operation::RecordStep { grant, step, lease };
        match self.records.settle(key, &operation, None).await? {
            Reply::Step(reply) => Ok(reply),
            _ => Err(Error::OtherReply),
        }
    }

    async fn try_renew(&self, key: &Key, grant: &Grant, lease: Duration) -> Result<Update, Error> {
        let more = [micros(lease)?.into()];
        if self
            .shortcut(Verb::Renew, key, grant.holder(), &more)
            .await?
        {
            return Ok(Update::Applied);
        }
        let grant = grant.clone();
        self.update(key, Operation::Renew { grant, lease }).await
    }
}

/// What the first statement of a claim has met.
pub(crate) enum Seen {
    /// Nothing: the claim is granted.
    Added(Looked),
    /// A record that came while the statement ran.
    Neither,
    There(Looked),
}

impl Seen {
    /// Reads the answer to a claim's first statement.
    pub(crate) fn read(rows: &[impl Cells]) -> Result<Self, Error> {
        let row = rows.first().ok_or(Error::Reply)?;
        let looked = Looked::read(row, Steps::All)?;
        let added = row.number(NEXT).map_err(|_| Error::Reply)?;
        Ok(match (added, &looked.stored) {
            (Some(_), _) => Self::Added(looked),
            (None, Some(_)) => Self::There(looked),
            (None, None) => Self::Neither,
        })
    }
}

/// What a claim's first statement is told of it.
pub(crate) fn claim_values<'a>(
    key: &'a Key,
    request: &'a ClaimRequest,
) -> Result<[Value<'a>; 6], Error> {
    let life = micros(request.keep)?.checked_add(micros(request.lease)?);
    Ok([
        key.as_str().into(),
        request.owner.as_bytes().as_slice().into(),
        request.fingerprint.as_bytes().as_slice().into(),
        Value::Flag(request.at_most_once),
        number(request.keep.as_nanos())?.into(),
        life.ok_or(Error::OutOfRange)?.into(),
    ])
}

/// A step, as the parameters of a statement.
pub(crate) fn step_values<'a>(
    key: &'a Key,
    grant: &'a Grant,
    step: &'a Step,
    lease: Duration,
) -> Result<[Value<'a>; 6], Error> {
    Ok([
        key.as_str().into(),
        grant.owner.as_bytes().as_slice().into(),
        number(grant.fence.as_u64())?.into(),
        micros(lease)?.into(),
        step.name.as_bytes().into(),
        (&*step.value).into(),
    ])
}

impl Store for PostgresStore {
    fn name(&self) -> &'static str {
        "postgres"
    }

    async fn claim(&self, key: &Key, request: &ClaimRequest) -> Result<Claim, StoreError> {
        Ok(self.try_claim(key, request).await?)
    }

    async fn complete(
        &self,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<Update, StoreError> {
        Ok(self.try_complete(key, grant, completion).await?)
    }

    async fn record_step(
        &self,
        key: &Key,
        grant: &Grant,
        step: &Step,
        lease: Duration,
    ) -> Result<StepReply, StoreError> {
        Ok(self.try_record_step(key, grant, step, lease).await?)
    }

    async fn release(
        &self,
        key: &Key,
        holder: &Holder,
        release: Release,
    ) -> Result<Update, StoreError> {
        Ok(self.try_release(key, holder, release).await?)
    }

    async fn renew(&self, key: &Key, grant: &Grant, lease: Duration) -> Result<Update, StoreError> {
        Ok(self.try_renew(key, grant, lease).await?)
    }

    /// Hears of the ends of attempts in all processes. Hears nothing
    /// [behind a pooler](PostgresOptions::behind_pooler), where the engine's polling has to do.
    async fn watch(&self, key: &Key) -> Result<Watch, StoreError> {
        match &self.notifications {
            None => Ok(Watch::never()),
            Some(notifications) => Ok(notifications.watch(key).await?),
        }
    }
}

pub(crate) fn micros(duration: Duration) -> Result<i64, Error> {
    number(duration.as_micros())
}
