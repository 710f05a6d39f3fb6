use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use shuttle::future::block_on;
use shuttle::thread;

use super::{TTL, explore, is_found_out, key, request};
use crate::clock::Clock;
use crate::engine::flight::{Find, Flights};
use crate::fingerprint::Fingerprint;
use crate::memory::MemoryStore;
use crate::protocol::{Claim, Completion, Grant, Release, ReleaseMode};
use crate::record::{Ending, Payload};
use crate::store::{Store, Watch, Watchers};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::time::{Instant, timeout_at};

/// Subscribes, claims, and waits for news without a poll, until there is a result, or a grant: it is
/// given up again for the next one.
async fn wait(store: &MemoryStore) {
    let watch = store.watch(&key("k")).await.unwrap();
    claim_until_done(store, watch).await;
}

/// Claims first, and subscribes then.
async fn wait_too_late(store: &MemoryStore) {
    let mut request = request();
    request.wait = true;
    if let Claim::Busy { .. } = store.claim(&key("k"), &request).await.unwrap() {
        let mut watch = store.watch(&key("k")).await.unwrap();
        watch.changed().await;
        claim_until_done(store, watch).await;
    }
}

async fn claim_until_done(store: &MemoryStore, mut watch: Watch) {
    let mut request = request();
    request.wait = true;
    loop {
        match store.claim(&key("k"), &request).await.unwrap() {
            Claim::Busy { .. } => watch.changed().await,
            Claim::Done(_) => return,
            Claim::Granted(grant) => return give_up(store, &grant).await,
            claim => panic!("{claim:?}"),
        }
    }
}

async fn give_up(store: &MemoryStore, grant: &Grant) {
    let release = Release::new(Ending::Error, ReleaseMode::Free);
    let holder = grant.holder();
    store.release(&key("k"), &holder, release).await.unwrap();
}

/// An attempt ends while one caller waits for it, and another one comes.
fn an_attempt_ends<F>(finishes: bool, wait: fn(MemoryStore) -> F)
where
    F: Future<Output = ()> + 'static,
{
    // Its lease does not end by itself.
    let store = MemoryStore::new().with_clock(Clock::manual());
    let Claim::Granted(grant) = block_on(store.claim(&key("k"), &request())).unwrap() else {
        panic!("nobody else has claimed");
    };
    let waiters = [(); 2].map(|()| {
        let store = store.clone();
        thread::spawn(move || block_on(wait(store)))
    });
    if finishes {
        let completion = Completion::value(Payload::default(), TTL);
        block_on(store.complete(&key("k"), &grant, &completion)).unwrap();
    } else {
        block_on(give_up(&store, &grant));
    }
    for waiter in waiters {
        waiter.join().unwrap();
    }
}

/// A wake-up that is lost leaves a waiter asleep, which fails as a deadlock.
#[test]
fn the_end_of_an_attempt_wakes_every_waiter() {
    for finishes in [true, false] {
        explore("waiters on the store", move || {
            an_attempt_ends(finishes, |store| async move { wait(&store).await });
        });
    }
}

#[test]
fn a_subscription_after_the_claim_is_found_out() {
    assert!(is_found_out(|| {
        an_attempt_ends(true, |store| async move { wait_too_late(&store).await });
    }));
}

#[test]
fn a_message_after_the_subscription_is_never_missed() {
    explore("watchers", || {
        let watchers = Watchers::new();
        let mut watch = watchers.subscribe(&key("k"));
        let (other, telling) = (watchers.clone(), watchers.clone());
        let coming_and_going = thread::spawn(move || drop(other.subscribe(&key("k"))));
        let telling = thread::spawn(move || telling.notify(&key("k")));
        block_on(watch.changed());
        drop(watch);
        coming_and_going.join().unwrap();
        telling.join().unwrap();
        assert!(watchers.is_empty());
    });
}

/// Takes turns in a flight: tells the others something, unless somebody has done so since.
async fn take_turn(flights: &Arc<Flights>, told: &AtomicUsize, patience: Option<Duration>) {
    let before = told.load(Ordering::SeqCst);
    let passenger = flights.board(&key("k"), Fingerprint::from_bytes([7; 32]));
    let turn = match patience {
        None => passenger.turn().await,
        Some(patience) => match timeout_at(Instant::now() + patience, passenger.turn()).await {
            Ok(turn) => turn,
            Err(_) => return,
        },
    };
    if passenger.found().is_some() {
        assert!(told.load(Ordering::SeqCst) > before);
    } else {
        turn.share(Find::StoreFailed);
        told.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn everybody_in_a_flight_has_a_turn_and_no_old_news() {
    explore("flights", || {
        let flights = Arc::new(Flights::default());
        let told = Arc::new(AtomicUsize::new(0));
        let patience = [None, Some(Duration::from_millis(20)), None, None];
        let callers = patience.map(|patience| {
            let (flights, told) = (Arc::clone(&flights), Arc::clone(&told));
            thread::spawn(move || block_on(take_turn(&flights, &told, patience)))
        });
        for caller in callers {
            caller.join().unwrap();
        }
        assert!((1..=4).contains(&told.load(Ordering::SeqCst)));
        assert!(flights.is_empty());
    });
}
