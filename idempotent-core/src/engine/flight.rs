use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex as Turn, MutexGuard as TurnGuard};

use crate::fingerprint::Fingerprint;
use crate::key::{self, HashOfKey, Key};
use crate::protocol::Recorded;
use crate::sync::time::Instant;
use crate::sync::{Mutex, MutexGuard, lock};

const SHARDS: usize = 16;

/// The callers of this process that want the same thing: one key with one fingerprint.
///
/// They take turns at the store. Whoever has the turn claims, and watches the attempt in progress
/// for the others; what it finds, they need not ask for. So any number of callers costs the store
/// as much as one. A caller with other arguments is in a flight of its own, and hears at once that
/// they do not match.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    shards: [Mutex<HashMap<Id, Boarded, HashOfKey>>; SHARDS],
}

type Id = (Key, Fingerprint);

#[derive(Debug)]
struct Boarded {
    flight: Arc<Flight>,
    callers: usize,
}

#[derive(Debug, Default)]
struct Flight {
    turn: Turn<()>,
    news: Mutex<News>,
}

#[derive(Debug, Default)]
struct News {
    /// What the last caller to have news for the others has found, and how many times there were any.
    found: Option<Find>,
    finds: u64,
    /// When the lease of the attempt in progress ends, as far as is known.
    busy_until: Option<Instant>,
}

/// What one caller's question to the store answers for all.
#[derive(Clone, Debug)]
pub(crate) enum Find {
    /// There is a result.
    Recorded(Recorded),
    /// The store does not answer. Whoever asked meanwhile need not find that out in turn.
    StoreFailed,
}

/// A caller's place in a flight, until it is dropped.
#[derive(Debug)]
pub(crate) struct Passenger {
    flights: Arc<Flights>,
    flight: Arc<Flight>,
    id: Option<Id>,
    /// How many finds there were when the caller came: older ones may have expired since.
    finds: u64,
}

/// The turn at the store.
#[derive(Debug)]
pub(crate) struct AtStore<'a> {
    flight: &'a Flight,
    _turn: TurnGuard<'a, ()>,
}

impl Flights {
    pub(crate) fn board(self: &Arc<Self>, key: &Key, fingerprint: Fingerprint) -> Passenger {
        let id = (key.clone(), fingerprint);
        let flight = match self.shard(key).entry(id.clone()) {
            Entry::Occupied(mut boarded) => {
                boarded.get_mut().callers += 1;
                Arc::clone(&boarded.get().flight)
            }
            Entry::Vacant(vacant) => {
                let flight = Arc::new(Flight::default());
                vacant.insert(Boarded {
                    flight: Arc::clone(&flight),
                    callers: 1,
                });
                flight
            }
        };
        let finds = flight.news().finds;
        Passenger {
            flights: Arc::clone(self),
            flight,
            id: Some(id),
            finds,
        }
    }

    #[cfg(all(test, shuttle))]
    pub(crate) fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| lock(shard).is_empty())
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, HashMap<Id, Boarded, HashOfKey>> {
        lock(&self.shards[key::shard(key, SHARDS)])
    }
}

impl Passenger {
    /// Waits for the turn.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a caller who goes away loses its place, and holds nobody up.
    pub(crate) async fn turn(&self) -> AtStore<'_> {
        AtStore {
            flight: &self.flight,
            _turn: self.flight.turn.lock().await,
        }
    }

    /// The turn, if nobody has it.
    pub(crate) fn turn_now(&self) -> Option<AtStore<'_>> {
        let turn = self.flight.turn.try_lock().ok()?;
        Some(AtStore {
            flight: &self.flight,
            _turn: turn,
        })
    }

    /// What another caller has found since this one came.
    pub(crate) fn found(&self) -> Option<Find> {
        let news = self.flight.news();
        (news.finds > self.finds).then(|| news.found.clone())?
    }

    /// What is left of the lease of the attempt in progress, as far as is known.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        let until = self.flight.news().busy_until?;
        Some(until.saturating_duration_since(Instant::now()))
    }
}

impl AtStore<'_> {
    /// Tells the others what holds for them as well.
    pub(crate) fn share(&self, find: Find) {
        let mut news = self.flight.news();
        news.finds += 1;
        news.found = Some(find);
    }

    /// Tells the others until when the attempt in progress has its lease.
    pub(crate) fn share_busy(&self, remaining: Duration) {
        self.flight.news().busy_until = Some(Instant::now() + remaining);
    }
}

impl Flight {
    fn news(&self) -> MutexGuard<'_, News> {
        lock(&self.news)
    }
}

impl Drop for Passenger {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let mut shard = self.flights.shard(&id.0);
        if let Entry::Occupied(mut boarded) = shard.entry(id) {
            boarded.get_mut().callers -= 1;
            if boarded.get().callers == 0 {
                boarded.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> Id {
        (
            Key::new("scope", "key").unwrap(),
            Fingerprint::from_bytes([7; 32]),
        )
    }

    #[tokio::test]
    async fn the_last_passenger_ends_the_flight() {
        let (flights, (key, fingerprint)) = (Arc::<Flights>::default(), id());
        let (first, second) = (
            flights.board(&key, fingerprint),
            flights.board(&key, fingerprint),
        );
        drop(first);
        assert_eq!(flights.shard(&key).len(), 1);
        drop(second);
        assert!(flights.shard(&key).is_empty());
    }

    /// It may have expired since.
    #[tokio::test]
    async fn a_caller_is_not_told_what_was_found_before_it_came() {
        let (flights, (key, fingerprint)) = (Arc::<Flights>::default(), id());
        let early = flights.board(&key, fingerprint);
        early.turn().await.share(Find::StoreFailed);
        let late = flights.board(&key, fingerprint);
        assert!(early.found().is_some());
        assert!(late.found().is_none());
    }

    #[tokio::test]
    async fn a_waiter_who_gives_up_holds_nobody_up() {
        let (flights, (key, fingerprint)) = (Arc::<Flights>::default(), id());
        let (first, second) = (
            flights.board(&key, fingerprint),
            flights.board(&key, fingerprint),
        );
        let third = flights.board(&key, fingerprint);
        let turn = first.turn().await;
        assert!(
            tokio::time::timeout(Duration::ZERO, second.turn())
                .await
                .is_err()
        );
        drop(second);
        drop(turn);
        drop(third.turn().await);
    }
}
