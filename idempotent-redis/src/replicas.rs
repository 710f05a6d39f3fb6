use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::pipe;
use tokio::sync::Mutex;

use crate::error::Error;

/// Waits until replicas have what was written, over a connection of its own: `WAIT` blocks the one
/// that it is sent on.
#[derive(Debug)]
pub(crate) struct Replicas<C> {
    connection: C,
    count: u64,
    patience: Duration,
    turn: Mutex<()>,
    /// How many times the server was asked.
    asked: AtomicU64,
    /// The last of them that was answered with enough replicas.
    confirmed: AtomicU64,
    /// How many of them were not answered.
    unanswered: AtomicU64,
}

impl<C> Replicas<C>
where
    C: ConnectionLike + Clone + Send + Sync,
{
    pub(crate) fn new(connection: C, count: u64, patience: Duration) -> Self {
        Self {
            connection,
            count,
            patience,
            turn: Mutex::new(()),
            asked: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
        }
    }

    /// Waits for all that the server has acknowledged until now. Callers at the same time share one
    /// question.
    pub(crate) async fn confirm(&self) -> Result<(), Error> {
        let next = self.asked.load(Ordering::SeqCst) + 1;
        let unanswered = self.unanswered.load(Ordering::SeqCst);
        let _turn = self.turn.lock().await;
        if self.confirmed.load(Ordering::SeqCst) >= next {
            return Ok(());
        }
        // The next connection may lead to another server, after a failover. What that one's replicas
        // have says nothing about a write that the one before has acknowledged.
        if self.unanswered.load(Ordering::SeqCst) > unanswered {
            return Err(Error::Timeout);
        }
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let patience = u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX);
        // `WAIT` is about what the server had written when this connection sent its last command.
        let mut question = pipe();
        question
            .cmd("PING")
            .ignore()
            .cmd("WAIT")
            .arg(self.count)
            .arg(patience);
        let answer = question.query_async(&mut self.connection.clone()).await;
        let (have,): (u64,) = answer.inspect_err(|_| {
            self.unanswered.fetch_add(1, Ordering::SeqCst);
        })?;
        if have < self.count {
            return Err(Error::NotReplicated {
                needed: self.count,
                have,
            });
        }
        self.confirmed.store(number, Ordering::SeqCst);
        Ok(())
    }
}
