//! The claim, the operation's own writes and the result in one transaction: no lease, nothing to renew,
//! and nothing to recover.

mod claim;
mod commit;
mod ending;
mod lent;
mod seat;
mod within;

use std::future::Future;
use std::time::Duration;

use self::ending::Ended;
pub use self::ending::InTransaction;
pub use self::lent::Lent;
pub use self::seat::{Begun, Seat};
use super::{Attempt, ErrorPolicy, Operation, caught};
use crate::error::Error;
use crate::outcome::Reply;
use crate::store::TransactionalStore;

/// How often an operation runs again whose transaction was rolled back: a deadlock, two serializable
/// transactions that do not fit together, a connection that was lost.
pub(crate) const RERUNS: u32 = 5;
/// The pause before the first of them; each is five times as long as the one before.
const RERUN_PAUSE: Duration = Duration::from_millis(1);

impl<P> Operation<P> {
    /// Runs `body` in a transaction of `store`, unless there is a recorded result; returns the result.
    ///
    /// The claim, what `body` writes through the transaction, and the result are committed together,
    /// or not at all: exactly once, for effects in that database. There is no lease: a caller that dies
    /// is rolled back by the database.
    ///
    /// `body` runs again, up to five times, if its transaction is rolled back after it has ended, as the
    /// database does to one of two that do not fit together; and if it ends with an error that
    /// [`rerun_if`](Self::rerun_if) knows as such. So it should do nothing that the transaction cannot
    /// undo.
    ///
    /// The policies of [`Engine`](crate::Engine) and operation mean what they mean elsewhere, but for
    /// this:
    ///
    /// - an error, a panic and the end of a caller roll everything back, and a retry runs. An error that
    ///   is to be recorded is recorded after that, in a transaction of its own;
    /// - without the store there is no transaction, so nothing runs unprotected;
    /// - a result that cannot be recorded rolls everything back.
    ///
    /// # Errors
    ///
    /// Those of `body`, and every [`Error`], [`Error::RolledBack`] and [`Error::CommitUnknown`] among
    /// them.
    ///
    /// # Cancel safety
    ///
    /// If this is dropped, the transaction is rolled back, unless its commit has begun. Then nobody
    /// knows, and a retry finds out.
    pub async fn run_in<S, R, F>(
        self,
        store: &S,
        mut body: impl FnMut(Lent<S::Transaction>) -> F,
    ) -> R
    where
        S: TransactionalStore,
        R: Reply,
        F: Future<Output = R>,
        P: ErrorPolicy<R::Error>,
    {
        self.run_in_with(store, |transaction, _| body(transaction))
            .await
    }

    /// Like [`run_in`](Self::run_in), for a body that wants to know of its attempt.
    ///
    /// # Errors
    ///
    /// As for [`run_in`](Self::run_in).
    ///
    /// # Cancel safety
    ///
    /// As for [`run_in`](Self::run_in).
    pub async fn run_in_with<S, R, F>(
        self,
        store: &S,
        mut body: impl FnMut(Lent<S::Transaction>, Attempt) -> F,
    ) -> R
    where
        S: TransactionalStore,
        R: Reply,
        F: Future<Output = R>,
        P: ErrorPolicy<R::Error>,
    {
        let seat = match self.seat() {
            Ok(seat) => seat,
            Err(reply) => return reply,
        };
        let mut reruns = 0;
        loop {
            let running = match seat.begin(store).await {
                Begun::Return(reply) => return reply,
                Begun::Run(running) => running,
            };
            let attempt = running.attempt();
            let (pending, transaction) = running.split();
            let (lent, lender) = Lent::new(transaction);
            let ended = caught(body(lent, attempt)).await;
            match pending.end(lender.back(), ended).await {
                Ended::Reply(reply) => return reply,
                Ended::GivenUp(reply) if reruns == RERUNS => return reply,
                Ended::RolledBack(error) if reruns == RERUNS || !is_transient(&error) => {
                    return R::from_result(Err(error.into()));
                }
                Ended::GivenUp(_) | Ended::RolledBack(_) => {}
            }
            seat.pause(reruns).await;
            reruns += 1;
        }
    }

    /// The caller's place among those of this process that want the same key.
    #[doc(hidden)]
    pub fn seat<R: Reply>(self) -> Result<Seat<P>, R>
    where
        P: ErrorPolicy<R::Error>,
    {
        Seat::take(self).map_err(|error: Error| R::from_result(Err(error.into())))
    }
}

/// The pause before a transaction runs for another time.
pub(crate) fn rerun_pause(reruns: u32) -> Duration {
    RERUN_PAUSE * 5_u32.pow(reruns)
}

/// Whether the same transaction may well be committed if it runs again.
fn is_transient(error: &Error) -> bool {
    matches!(error, Error::RolledBack { source, .. } if source.is_transient())
}
