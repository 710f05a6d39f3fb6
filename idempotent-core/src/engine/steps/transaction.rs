//! Steps whose rows are in the database that keeps the record: both in one commit.

use std::borrow::Cow;
use std::future::Future;
use std::panic::resume_unwind;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::record::Open;
use super::{Attempt, Built, StepError, inside};
use crate::engine::EventKind;
use crate::engine::caught::caught;
use crate::engine::claim::{Call, PAUSES};
use crate::engine::transaction::{Lent, RERUNS, rerun_pause};
use crate::error::{Error, StoreError};
use crate::protocol::{Claim, Completion, Grant};
use crate::record::Step;
use crate::store::{CommitError, TransactionalStore};
use crate::sync::time::{Instant, sleep};

/// How long the pause is between two looks for what became of a commit.
const PAUSE: Duration = Duration::from_millis(100);

/// What a commit has come to.
enum Committed {
    Yes,
    /// It was rolled back, and may well succeed if it is tried again.
    Again(Error),
}

/// What is committed together with the rows.
#[derive(Clone, Copy)]
enum What<'a> {
    Result(&'a Completion),
    Step(&'a Step),
}

impl Attempt {
    /// Like [`step`](Self::step), for rows in `store`'s database: what `body` writes through its transaction
    /// and the record of the step are committed together, or not at all. Exactly once.
    ///
    /// The operation itself runs under a lease, and `store` must be where its record is: a SQLite store or
    /// the transactions of the PostgreSQL store that the engine has. A step in any other database is
    /// rolled back.
    ///
    /// `body` runs again, up to five times, if its transaction is rolled back after it has ended. An error
    /// or a panic of `body` rolls it back, and the next attempt runs it.
    ///
    /// # Errors
    ///
    /// Those of `body`, [`Error::Step`], [`Error::RolledBack`], [`Error::CommitUnknown`] and
    /// [`Error::Store`].
    ///
    /// # Cancel safety
    ///
    /// As for [`step`](Self::step). The transaction is rolled back, unless its commit has begun.
    pub fn tx_step<S, T, E, F>(
        &self,
        name: impl Into<Cow<'static, str>>,
        store: &S,
        mut body: impl FnMut(Lent<S::Transaction>) -> F,
    ) -> impl Future<Output = Result<T, E>>
    where
        S: TransactionalStore,
        F: Future<Output = Result<T, E>>,
        T: Serialize + DeserializeOwned,
        E: From<Error>,
    {
        let name = name.into();
        let built = self.build(&name);
        async move {
            let place = match built? {
                Built::Plain => return self.run_plain(store, &mut body).await,
                Built::Known(payload) => return Ok(self.decode(&payload)?),
                Built::Run { place } => place,
            };
            let mut reruns = 0;
            loop {
                let open = self.open(&name, place)?;
                let (value, transaction) = match self.run_body(store, &mut body).await {
                    Ok(ended) => ended,
                    Err(error) => {
                        // All of it was rolled back.
                        open.close();
                        return Err(error);
                    }
                };
                let step = open.encode(&value);
                match self.commit_step(store, open, step, transaction).await? {
                    Committed::Yes => return Ok(value),
                    Committed::Again(error) if reruns == RERUNS => return Err(error.into()),
                    Committed::Again(_) => {}
                }
                self.pause(reruns).await;
                reruns += 1;
            }
        }
    }

    /// Runs the last part of the operation, and records what it gives as the operation's result, in one
    /// commit with the rows that it writes. Return that value.
    ///
    /// With it, an operation of n steps in transactions takes n commits more than its claim.
    ///
    /// # Errors
    ///
    /// As for [`tx_step`](Self::tx_step).
    ///
    /// # Cancel safety
    ///
    /// As for [`tx_step`](Self::tx_step).
    pub async fn finish_in<S, T, E, F>(
        &self,
        store: &S,
        mut body: impl FnMut(Lent<S::Transaction>) -> F,
    ) -> Result<T, E>
    where
        S: TransactionalStore,
        F: Future<Output = Result<T, E>>,
        T: Serialize + DeserializeOwned,
        E: From<Error>,
    {
        if self.runs_plain() {
            return self.run_plain(store, &mut body).await;
        }
        let mut reruns = 0;
        loop {
            let (value, transaction) = self.run_body(store, &mut body).await?;
            let completion = self.completion(&value);
            match self.commit_result(store, completion, transaction).await? {
                Committed::Yes => return Ok(value),
                Committed::Again(error) if reruns == RERUNS => return Err(error.into()),
                Committed::Again(_) => {}
            }
            self.pause(reruns).await;
            reruns += 1;
        }
    }
}

impl Attempt {
    /// Runs `body` in a transaction that keeps no record.
    async fn run_plain<S, T, E, F>(
        &self,
        store: &S,
        body: &mut impl FnMut(Lent<S::Transaction>) -> F,
    ) -> Result<T, E>
    where
        S: TransactionalStore,
        F: Future<Output = Result<T, E>>,
        E: From<Error>,
    {
        let (value, transaction) = self.run_body(store, body).await?;
        let committed = store.commit(transaction).await;
        committed.map_err(|error| error.into_error(store.name()))?;
        Ok(value)
    }

    /// Runs `body`, and returns its value and the transaction that it wrote through. An error and a panic
    /// roll it back.
    async fn run_body<S, T, E, F>(
        &self,
        store: &S,
        body: &mut impl FnMut(Lent<S::Transaction>) -> F,
    ) -> Result<(T, S::Transaction), E>
    where
        S: TransactionalStore,
        F: Future<Output = Result<T, E>>,
        E: From<Error>,
    {
        let transaction = self.begin(store).await?;
        let (lent, lender) = Lent::new(transaction);
        let ended = caught(inside(&self.run, || body(lent))).await;
        let transaction = match lender.back() {
            Ok(transaction) => transaction,
            Err(source) => {
                let store = store.name();
                let kept = Error::RolledBack { store, source };
                return Err(match ended {
                    Ok(Ok(_)) => kept.into(),
                    Ok(Err(error)) => error,
                    Err(panic) => resume_unwind(panic),
                });
            }
        };
        match ended {
            Ok(Ok(value)) => Ok((value, transaction)),
            Ok(Err(error)) => {
                store.rollback(transaction).await;
                Err(error)
            }
            Err(panic) => {
                store.rollback(transaction).await;
                resume_unwind(panic)
            }
        }
    }

    /// Opens a transaction; again, if the store fails for a moment.
    async fn begin<S: TransactionalStore>(&self, store: &S) -> Result<S::Transaction, Error> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let source = match store.begin().await {
                Ok(transaction) => return Ok(transaction),
                Err(error) => error,
            };
            self.emit(EventKind::StoreError, &source);
            match pauses.next() {
                Some(pause) if source.is_transient() => sleep(pause).await,
                _ => {
                    let store = store.name();
                    return Err(Error::Store { store, source });
                }
            }
        }
    }

    async fn commit_step<S: TransactionalStore>(
        &self,
        store: &S,
        open: Open<'_>,
        step: Result<Step, Error>,
        transaction: S::Transaction,
    ) -> Result<Committed, Error> {
        let step = match step {
            Ok(step) => step,
            Err(error) => {
                store.rollback(transaction).await;
                open.close();
                return Err(error);
            }
        };
        let committed = self.commit(store, transaction, What::Step(&step)).await;
        match &committed {
            Ok(Committed::Yes) => self.kept(&step),
            Err(Error::CommitUnknown { .. }) => self.unrecorded(&step.name),
            Ok(Committed::Again(_)) | Err(_) => {}
        }
        open.close();
        committed
    }

    /// The result of the operation, if it may end here.
    fn completion<T: Serialize>(&self, value: &T) -> Result<Completion, Error> {
        let (call, _) = self.held().ok_or(Error::NoEngine)?;
        let (mut log, rules) = self.log()?;
        log.check("the result")?;
        log.check_end(&rules).map_err(StepError::from)?;
        drop(log);
        let payload = call
            .encode_whole(value)
            .map_err(|reason| Error::RolledBack {
                store: call.shared().store.name(),
                source: StoreError::Backend(reason.into()),
            })?;
        Ok(Completion::value(payload, call.policy.ttl))
    }

    async fn commit_result<S: TransactionalStore>(
        &self,
        store: &S,
        completion: Result<Completion, Error>,
        transaction: S::Transaction,
    ) -> Result<Committed, Error> {
        let completion = match completion {
            Ok(completion) => completion,
            Err(error) => {
                store.rollback(transaction).await;
                return Err(error);
            }
        };
        let sent = Instant::now();
        let what = What::Result(&completion);
        let committed = self.commit(store, transaction, what).await?;
        if let (Committed::Yes, Some((call, grant))) = (&committed, self.held()) {
            call.executed(grant, &completion, sent);
            self.log()?.0.finish(completion.payload);
        }
        Ok(committed)
    }

    async fn commit<S: TransactionalStore>(
        &self,
        store: &S,
        transaction: S::Transaction,
        what: What<'_>,
    ) -> Result<Committed, Error> {
        let (call, grant) = self.held().ok_or(Error::NoEngine)?;
        let (key, lease) = (&call.key, call.policy.lease);
        let told = match what {
            What::Result(completion) => store.finish(transaction, key, grant, completion).await,
            What::Step(step) => {
                store
                    .record_step(transaction, key, grant, step, lease)
                    .await
            }
        };
        match told {
            Ok(()) => Ok(Committed::Yes),
            Err(error) => self.find_out(call, grant, what, store.name(), error).await,
        }
    }

    /// Looks for what became of a commit that was not acknowledged.
    async fn find_out(
        &self,
        call: &Call,
        grant: &Grant,
        what: What<'_>,
        store: &'static str,
        error: CommitError,
    ) -> Result<Committed, Error> {
        let (is_known, mut source) = match error {
            CommitError::RolledBack(source) => (true, source),
            CommitError::Unknown(source) => (false, source),
        };
        let until = Instant::now() + call.shared().record_patience;
        loop {
            call.emit(EventKind::StoreError, &source);
            match call.look_again(grant).await {
                Ok(Look::Held(held)) if what.is_in(&held) => return Ok(Committed::Yes),
                Ok(Look::Held(_)) => {
                    let again = !is_known || source.is_transient();
                    let error = Error::RolledBack { store, source };
                    return if again {
                        Ok(Committed::Again(error))
                    } else {
                        Err(error)
                    };
                }
                Ok(Look::Finished) if matches!(what, What::Result(_)) => {
                    return Ok(Committed::Yes);
                }
                Ok(Look::Finished | Look::Lost) => return Err(self.lost(what.name()).into()),
                Err(_) if Instant::now() >= until => {
                    return Err(Error::CommitUnknown { store, source });
                }
                Err(error) => source = error,
            }
            sleep(call.shared().jitter.apply(PAUSE)).await;
        }
    }

    /// Lets others go first, before a transaction runs for another time.
    async fn pause(&self, reruns: u32) {
        let pause = rerun_pause(reruns);
        let jitter = self.held().map(|(call, _)| &call.shared().jitter);
        sleep(jitter.map_or(pause, |jitter| jitter.apply(pause))).await;
    }
}

impl What<'_> {
    fn is_in(self, grant: &Grant) -> bool {
        match self {
            Self::Result(_) => false,
            Self::Step(step) => grant.steps.contains(step),
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Result(_) => "the result",
            Self::Step(step) => &step.name,
        }
    }
}

/// What an owner finds of its attempt.
enum Look {
    /// It has finished.
    Finished,
    /// It is in progress.
    Held(Grant),
    /// Another has taken over, or there is nothing.
    Lost,
}

impl Call {
    /// Claims again as the owner of `grant`, who gets it once more, with all that is recorded by now. A
    /// transaction that is still going on is waited for.
    async fn look_again(&self, grant: &Grant) -> Result<Look, StoreError> {
        let request = self.request(grant.owner, false);
        Ok(
            match self.shared().store.claim(&self.key, &request).await? {
                Claim::Granted(found) if found.fence == grant.fence => Look::Held(found),
                Claim::Granted(other) => {
                    // Nobody runs under that.
                    self.release_unrun(other.holder()).await;
                    Look::Lost
                }
                Claim::Done(recorded) if recorded.fence == grant.fence => Look::Finished,
                _ => Look::Lost,
            },
        )
    }
}
