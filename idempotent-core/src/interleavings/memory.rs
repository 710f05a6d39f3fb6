use shuttle::future::block_on;
use shuttle::thread;

use super::check_then_act::CheckThenAct;
use super::{LEASE, TTL, explore, is_found_out, key, request};
use crate::clock::Clock;
use crate::error::StoreError;
use crate::memory::{MemoryStore, OnFull};
use crate::protocol::{Claim, Completion, Release, ReleaseMode, Update};
use crate::record::{Ending, Payload, State};
use crate::store::{Inspect, Query, Store};

/// Runs `act` in `count` threads at once, and returns what each has come to.
fn at_once<T: Send + 'static>(
    count: usize,
    act: impl Fn(usize) -> T + Clone + Send + 'static,
) -> Vec<T> {
    let threads: Vec<_> = (0..count)
        .map(|number| {
            let act = act.clone();
            thread::spawn(move || act(number))
        })
        .collect();
    threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect()
}

fn one_of_three_claims_wins(store: impl Store) {
    let claims = at_once(3, move |_| {
        block_on(store.claim(&key("k"), &request())).unwrap()
    });
    let granted = claims
        .iter()
        .filter(|claim| matches!(claim, Claim::Granted(_)));
    assert_eq!(granted.count(), 1, "{claims:?}");
}

#[test]
fn one_of_many_claims_wins() {
    explore("claims", || one_of_three_claims_wins(MemoryStore::new()));
}

#[test]
fn a_claim_that_checks_and_then_acts_is_found_out() {
    assert!(is_found_out(|| {
        one_of_three_claims_wins(CheckThenAct::new(&Clock::manual()));
    }));
}

/// An owner completes while another takes its expired lease over: one of them has the record.
fn a_completion_and_a_takeover_exclude_each_other(store: impl Store, clock: &Clock) {
    let Claim::Granted(grant) = block_on(store.claim(&key("k"), &request())).unwrap() else {
        panic!("nobody else has claimed");
    };
    clock.advance(LEASE);
    let (owner, rival) = (store.clone(), store);
    let completing = thread::spawn(move || {
        let completion = Completion::value(Payload::default(), TTL);
        block_on(owner.complete(&key("k"), &grant, &completion)).unwrap()
    });
    let claim = block_on(rival.claim(&key("k"), &request())).unwrap();
    match (completing.join().unwrap(), claim) {
        (Update::Applied, Claim::Done(_)) | (Update::Lost(Some(_)), Claim::Granted(_)) => {}
        both => panic!("{both:?}"),
    }
}

#[test]
fn a_late_completion_and_a_takeover_exclude_each_other() {
    explore("completion or takeover", || {
        let clock = Clock::manual();
        let store = MemoryStore::new().with_clock(clock.clone());
        a_completion_and_a_takeover_exclude_each_other(store, &clock);
    });
}

#[test]
fn a_completion_that_checks_and_then_acts_is_found_out() {
    assert!(is_found_out(|| {
        let clock = Clock::manual();
        a_completion_and_a_takeover_exclude_each_other(CheckThenAct::new(&clock), &clock);
    }));
}

/// How many records there are.
fn records(store: &MemoryStore) -> usize {
    let query = Query::all();
    block_on(store.list(&query)).unwrap().entries.len()
}

/// Claims, completes and gives up with keys of its own and with one that all share.
fn fill(store: &MemoryStore, number: usize) {
    for (key, finishes) in [
        (key(&format!("own {number}")), true),
        (key("shared"), number.is_multiple_of(2)),
    ] {
        match block_on(store.claim(&key, &request())) {
            Ok(Claim::Granted(grant)) if finishes => {
                let completion = Completion::value(Payload::default(), TTL);
                block_on(store.complete(&key, &grant, &completion)).unwrap();
            }
            Ok(Claim::Granted(grant)) => {
                let release = Release::new(Ending::Error, ReleaseMode::Free);
                block_on(store.release(&key, &grant.holder(), release)).unwrap();
                block_on(store.delete(&key)).unwrap();
            }
            Ok(_) | Err(StoreError::Full(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_store_never_holds_more_than_it_may_and_counts_what_it_holds() {
    for on_full in [OnFull::EvictFinished, OnFull::Refuse] {
        explore("capacity", move || {
            let store = MemoryStore::new().with_capacity(2).with_on_full(on_full);
            let filled = store.clone();
            at_once(3, move |number| fill(&filled, number));
            let held = records(&store);
            assert!(held <= 2, "{held}");
            if on_full == OnFull::Refuse {
                // There is room for as many as are not there.
                let claim =
                    |number| block_on(store.claim(&key(&format!("new {number}")), &request()));
                let granted = (0..4).filter(|number| claim(*number).is_ok());
                assert_eq!(granted.count(), 2 - held);
            }
        });
    }
}

#[test]
fn purging_takes_what_has_expired_and_nothing_else() {
    explore("purging", || {
        let clock = Clock::manual();
        let store = MemoryStore::new().with_clock(clock.clone());
        block_on(store.claim(&key("old"), &request())).unwrap();
        clock.advance(TTL + LEASE);
        let acting = store.clone();
        at_once(3, move |number| match number {
            0 => drop(block_on(acting.purge(10)).unwrap()),
            1 => drop(block_on(acting.claim(&key("old"), &request())).unwrap()),
            _ => drop(block_on(acting.claim(&key("new"), &request())).unwrap()),
        });
        assert_eq!(records(&store), 2);
        for name in ["old", "new"] {
            let record = block_on(store.get(&key(name))).unwrap();
            let record = record.expect("it was claimed after its end");
            assert_eq!((record.state, record.attempt), (State::InProgress, 1));
        }
    });
}
