use std::marker::PhantomData;
use std::sync::Arc;

use super::claim::Asked;
use super::commit::Claimed;
use super::ending::{InTransaction, Pending};
use super::rerun_pause;
use crate::engine::claim::{Call, POLL};
use crate::engine::flight::{AtStore, Find, Passenger};
use crate::engine::near_cache::Nearby;
use crate::engine::{ErrorPolicy, EventKind, Mode, Operation};
use crate::error::Error;
use crate::fingerprint::Fingerprint;
use crate::outcome::Reply;
use crate::protocol::{Grant, Recorded};
use crate::store::TransactionalStore;
use crate::sync::time::{Instant, sleep, timeout_at};

/// A caller's place among those of this process that want the same key.
///
/// One of them at a time has a connection. So a key that many want at once cannot take all the
/// connections of a pool away from the others.
#[derive(Debug)]
#[doc(hidden)]
pub struct Seat<P> {
    place: Option<Place>,
    errors: P,
}

#[derive(Debug)]
struct Place {
    call: Arc<Call>,
    passenger: Passenger,
}

/// What a call has come to, before the operation's body.
#[derive(Debug)]
#[doc(hidden)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the attribute's expansion matches on it"
)]
pub enum Begun<R, T> {
    /// A replay, or an error: return it.
    Return(R),
    /// The body is to run.
    Run(T),
}

/// A call whose body is to run in a transaction of `S`, if it is to run.
type BegunIn<'a, S, R, P> =
    Begun<R, InTransaction<'a, S, <S as TransactionalStore>::Transaction, R, P>>;

/// What there is for a caller, before the operation's body.
enum Found<'a, T> {
    Granted(T, Claimed<'a>),
    Recorded(Recorded),
}

impl<P: Sync> Seat<P> {
    pub(super) fn take(operation: Operation<P>) -> Result<Self, Error> {
        let (call, errors) = operation.prepare()?;
        let place = call.map(|call| {
            // Who has other arguments waits as well: it is the key that a connection is held for.
            let any = Fingerprint::from_bytes([0; 32]);
            let passenger = call.shared().flights.board(&call.key, any);
            Place { call, passenger }
        });
        Ok(Self { place, errors })
    }

    /// Opens a transaction of `store`, and claims the key in it.
    #[doc(hidden)]
    pub async fn begin<'a, S, R>(&'a self, store: &'a S) -> BegunIn<'a, S, R, P>
    where
        S: TransactionalStore,
        R: Reply,
        P: ErrorPolicy<R::Error>,
    {
        let Some(place) = &self.place else {
            return self.begin_unprotected(store).await;
        };
        let call = &place.call;
        let is_shadow = call.shared().mode == Mode::Shadow;
        match place.begin(store).await {
            Ok(Found::Granted(transaction, claimed)) => {
                Begun::Run(self.run(store, transaction, Some(claimed)))
            }
            Ok(Found::Recorded(_)) if is_shadow => {
                call.emit(EventKind::WouldReplay, &"");
                self.begin_unprotected(store).await
            }
            Ok(Found::Recorded(recorded)) => Begun::Return(call.replay(&recorded, &self.errors)),
            Err(error) if is_shadow => {
                call.emit(EventKind::Unprotected, &error);
                self.begin_unprotected(store).await
            }
            Err(error) => Begun::Return(R::from_result(Err(error.into()))),
        }
    }

    async fn begin_unprotected<'a, S, R>(&'a self, store: &'a S) -> BegunIn<'a, S, R, P>
    where
        S: TransactionalStore,
        R: Reply,
    {
        match store.begin().await {
            Ok(transaction) => Begun::Run(self.run(store, transaction, None)),
            Err(source) => {
                let store = store.name();
                Begun::Return(R::from_result(Err(Error::Store { store, source }.into())))
            }
        }
    }

    fn run<'a, S: TransactionalStore, R>(
        &'a self,
        store: &'a S,
        transaction: S::Transaction,
        claimed: Option<Claimed<'a>>,
    ) -> InTransaction<'a, S, S::Transaction, R, P> {
        InTransaction {
            pending: Pending {
                claimed,
                errors: &self.errors,
                reply: PhantomData,
                store,
            },
            transaction,
        }
    }

    /// Lets others go first, before the operation runs for another time.
    pub(super) async fn pause(&self, reruns: u32) {
        let pause = rerun_pause(reruns);
        let jitter = self.place.as_ref().map(|place| &place.call.shared().jitter);
        sleep(jitter.map_or(pause, |jitter| jitter.apply(pause))).await;
    }
}

impl Place {
    async fn begin<S: TransactionalStore>(
        &self,
        store: &S,
    ) -> Result<Found<'_, S::Transaction>, Error> {
        let call = &self.call;
        match call.nearby() {
            Some(Nearby::Done(recorded)) => return Ok(Found::Recorded(recorded)),
            Some(Nearby::Mismatch) => return Err(call.mismatch()),
            None => {}
        }
        let deadline = Instant::now() + call.patience();
        let turn = self.turn(deadline).await?;
        if let Some(recorded) = self.found()? {
            return Ok(Found::Recorded(recorded));
        }
        let mut poll = POLL.0;
        loop {
            let sent = Instant::now();
            let (transaction, asked) = call.open(store, deadline).await?;
            let remaining = match asked {
                Asked::Granted(grant) => {
                    let claimed = self.granted(grant, turn);
                    return Ok(Found::Granted(transaction, claimed));
                }
                Asked::Done(recorded) => {
                    store.rollback(transaction).await;
                    call.remember(&recorded, sent);
                    turn.share(Find::Recorded(recorded.clone()));
                    return Ok(Found::Recorded(recorded));
                }
                Asked::Busy(remaining) => remaining,
            };
            store.rollback(transaction).await;
            turn.share_busy(remaining);
            let now = Instant::now();
            if now >= deadline {
                return Err(call.conflict(remaining));
            }
            call.emit(EventKind::Waited, &"");
            sleep(call.until_next_look(poll, remaining.min(deadline - now))).await;
            poll = (poll * 2).min(POLL.1);
        }
    }

    fn granted<'a>(&'a self, grant: Grant, turn: AtStore<'a>) -> Claimed<'a> {
        let call = &self.call;
        if grant.attempt > 1 {
            let attempt = format_args!("attempt {}", grant.attempt);
            call.emit(EventKind::Takeover, &attempt);
        }
        let grant = Arc::new(grant);
        Claimed { call, grant, turn }
    }

    async fn turn(&self, deadline: Instant) -> Result<AtStore<'_>, Error> {
        let passenger = &self.passenger;
        if let Some(turn) = passenger.turn_now() {
            return Ok(turn);
        }
        let turn = timeout_at(deadline, passenger.turn()).await;
        turn.map_err(|_| self.call.conflict(passenger.remaining().unwrap_or(POLL.1)))
    }

    /// What another caller of this process has found since this one came.
    fn found(&self) -> Result<Option<Recorded>, Error> {
        match self.passenger.found() {
            Some(Find::Recorded(recorded)) if recorded.fingerprint != self.call.fingerprint => {
                Err(self.call.mismatch())
            }
            Some(Find::Recorded(recorded)) => {
                self.call.emit(EventKind::Waited, &"");
                Ok(Some(recorded))
            }
            Some(Find::StoreFailed) | None => Ok(None),
        }
    }
}
