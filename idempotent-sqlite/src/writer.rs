//! The thread that owns the connection, and commits for many callers at once.

#[cfg(test)]
mod tests;

use std::fmt;
use std::mem;
use std::thread;
use std::time::Duration;

use idempotent_core::{Key, StoreError, Watchers};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::error::Error;
use crate::options::{LOCK_PAUSE, patiently};
use crate::rows::{Rows, Table};

/// How many operations share a commit at most.
const GROUP: usize = 256;

/// How many operations may wait for the next group. Further callers wait for their turn to wait.
const QUEUE: usize = 1024;

/// How long to wait at most for a group to fill up, and how long between two looks.
const LONGEST_GATHERING: Duration = Duration::from_millis(2);
const GATHERING_PAUSE: Duration = Duration::from_micros(20);

/// The way to the thread. It ends, and closes the connection, after the last clone has been dropped
/// and all that was sent has been done.
#[derive(Clone)]
pub(crate) struct Writer {
    jobs: mpsc::Sender<Box<dyn Job>>,
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn spawn(
        connection: Connection,
        table: Table,
        watchers: Watchers,
    ) -> Result<Self, Error> {
        let (sender, jobs) = mpsc::channel(QUEUE);
        connection.busy_timeout(LOCK_PAUSE)?;
        let worker = Worker {
            connection,
            table,
            watchers,
            last_group: 0,
            last_commit: Duration::ZERO,
        };
        thread::Builder::new()
            .name("idempotency-sqlite".into())
            .spawn(|| worker.run(jobs))?;
        Ok(Self { jobs: sender })
    }

    /// Runs `work` in a transaction, and returns once what it did is safe.
    ///
    /// `work` may run several times: on a snapshot, and again in transactions that were given up.
    ///
    /// # Cancel safety
    ///
    /// Once it has been sent, the work is done even if the future is dropped.
    pub(crate) async fn call<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnMut(&mut Rows<'_>) -> Result<T, Error> + Send + 'static,
    {
        let (sender, answer) = oneshot::channel();
        let call = Call {
            work,
            answer: None,
            sender,
        };
        self.jobs
            .send(Box::new(call))
            .await
            .map_err(|_| Error::ThreadEnded)?;
        let answer = answer.await.map_err(|_| Error::ThreadEnded)?;
        Ok(answer?)
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

/// What the thread does for one caller.
trait Job: Send {
    /// Does the work, and keeps the answer. An error concerns the transaction, not this job alone.
    fn run(&mut self, rows: &mut Rows<'_>) -> Result<(), Error>;

    /// Tells the caller the answer.
    fn answer(self: Box<Self>);

    /// Tells the caller that nothing was done.
    fn fail(self: Box<Self>, error: Error);
}

struct Call<T, W> {
    work: W,
    answer: Option<Result<T, Error>>,
    sender: oneshot::Sender<Result<T, Error>>,
}

impl<T, W> Job for Call<T, W>
where
    T: Send,
    W: FnMut(&mut Rows<'_>) -> Result<T, Error> + Send,
{
    fn run(&mut self, rows: &mut Rows<'_>) -> Result<(), Error> {
        match (self.work)(rows) {
            Err(error) if !error.is_own() => Err(error),
            answer => {
                self.answer = Some(answer);
                Ok(())
            }
        }
    }

    fn answer(self: Box<Self>) {
        if let Some(answer) = self.answer {
            // A caller who has gone away does not want to know.
            _ = self.sender.send(answer);
        }
    }

    fn fail(self: Box<Self>, error: Error) {
        _ = self.sender.send(Err(error));
    }
}

/// Why a transaction was not committed.
enum Failure {
    /// It could not begin. No other would.
    Begin(Error),
    /// One of its jobs, or all of them together, made it fail.
    Group(Error),
}

/// The thread's own.
struct Worker {
    connection: Connection,
    table: Table,
    watchers: Watchers,
    /// How many jobs the last commit was for.
    last_group: usize,
    /// How long it took.
    last_commit: Duration,
}

impl Worker {
    fn run(mut self, mut queue: mpsc::Receiver<Box<dyn Job>>) {
        let mut arrived = Vec::new();
        while queue.blocking_recv_many(&mut arrived, GROUP) > 0 {
            let mut group = self.answer_from_snapshot(mem::take(&mut arrived));
            self.gather(&mut group, &mut queue);
            if !group.is_empty() {
                let began = Instant::now();
                self.last_group = group.len();
                self.commit(group);
                self.last_commit = began.elapsed();
            }
        }
    }

    /// Waits a little for the callers who have just been answered: most come back at once. Without
    /// this, two halves of them would take turns, each waiting for the other's commit as well as for
    /// its own.
    ///
    /// It is a guess. Where it is wrong, a commit comes a quarter of a commit later, once.
    fn gather(&mut self, group: &mut Vec<Box<dyn Job>>, queue: &mut mpsc::Receiver<Box<dyn Job>>) {
        let end = Instant::now() + (self.last_commit / 4).min(LONGEST_GATHERING);
        let mut arrived = Vec::new();
        while !group.is_empty() && group.len() < self.last_group && Instant::now() < end {
            if queue.is_empty() {
                thread::sleep(GATHERING_PAUSE);
            } else {
                queue.blocking_recv_many(&mut arrived, GROUP - group.len());
                group.append(&mut self.answer_from_snapshot(mem::take(&mut arrived)));
            }
        }
    }

    /// Answers the jobs that change nothing, such as replays: they need neither the lock on the file
    /// nor the disk. Returns the others.
    fn answer_from_snapshot(&mut self, jobs: Vec<Box<dyn Job>>) -> Vec<Box<dyn Job>> {
        let Ok(transaction) = self.connection.transaction() else {
            return jobs;
        };
        let mut rows = Rows::snapshot(&transaction, &self.table);
        let (mut answered, mut others) = (Vec::new(), Vec::new());
        for mut job in jobs {
            match job.run(&mut rows) {
                Ok(()) => answered.push(job),
                // Errors other than `Error::Changes` are left to the transaction that decides.
                Err(_) => others.push(job),
            }
        }
        for job in answered {
            job.answer();
        }
        others
    }

    /// Commits the jobs together and answers them; where that fails, one half after the other, until
    /// only those have failed that fail alone.
    fn commit(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        if jobs.is_empty() {
            return;
        }
        match self.try_commit(&mut jobs) {
            Ok(awaited) => {
                for job in jobs {
                    job.answer();
                }
                for key in &awaited {
                    self.watchers.notify(key);
                }
            }
            Err(Failure::Group(_)) if jobs.len() > 1 => {
                let second = jobs.split_off(jobs.len() / 2);
                self.commit(jobs);
                self.commit(second);
            }
            Err(Failure::Begin(error) | Failure::Group(error)) => {
                for job in jobs {
                    job.fail(error.clone());
                }
            }
        }
    }

    /// Begins a transaction that writes.
    fn begin(&self) -> Result<Transaction<'_>, Error> {
        let begin = || Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate);
        patiently(begin)
    }

    /// Returns the keys whose waiters are to be woken.
    fn try_commit(&self, jobs: &mut [Box<dyn Job>]) -> Result<Vec<Key>, Failure> {
        let transaction = self.begin().map_err(Failure::Begin)?;
        let mut rows = Rows::new(&transaction, &self.table);
        for job in jobs {
            job.run(&mut rows).map_err(Failure::Group)?;
        }
        rows.purge_in_passing().map_err(Failure::Group)?;
        let awaited = rows.into_awaited();
        // A full disk or a failed write can end a transaction behind our back, and what came after it
        // would have been committed piece by piece.
        if transaction.is_autocommit() {
            return Err(Failure::Group(Error::RolledBack));
        }
        transaction
            .commit()
            .map_err(|error| Failure::Group(error.into()))?;
        Ok(awaited)
    }
}
