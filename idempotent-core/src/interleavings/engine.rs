use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shuttle::future::{block_on, yield_now};
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use super::{LEASE, TTL, explore, key};
use crate::engine::{Attempt, Engine, OnConflict};
use crate::error::Error;
use crate::memory::MemoryStore;
use crate::protocol::{Holder, Release, ReleaseMode, Update};
use crate::record::{Ending, Record, State};
use crate::store::{Inspect, Store};
use crate::sync::time::sleep;
use crate::sync::{Mutex, lock};

/// How long a body takes at most: long enough to be renewed, and to lose its lease when it is not.
const BODY: Duration = Duration::from_millis(150);

/// The attempts that have run, by their numbers and fences.
type Runs = Arc<Mutex<Vec<(u32, u64)>>>;

fn engine(store: &MemoryStore) -> Engine {
    Engine::builder(store.clone())
        .lease(LEASE)
        .ttl(TTL)
        .on_conflict(OnConflict::Wait(LEASE * 20))
        .build()
}

async fn body(attempt: Attempt, runs: Runs) -> Result<u64, Error> {
    let fence = attempt.fence().expect("it is protected").as_u64();
    lock(&runs).push((attempt.number(), fence));
    let millis = thread_rng().gen_range(0..BODY.as_millis());
    sleep(Duration::from_millis(u64::try_from(millis).unwrap())).await;
    Ok(fence)
}

fn call(engine: &Engine, runs: &Runs) -> Result<u64, Error> {
    let runs = Arc::clone(runs);
    let operation = engine.operation("interleavings").key("k");
    block_on(operation.run_with(|attempt| body(attempt, runs)))
}

/// Four callers in two processes: renewals, completions and takeovers in any order.
#[test]
fn all_callers_get_the_one_recorded_value() {
    static TAKEOVERS: AtomicUsize = AtomicUsize::new(0);
    static LATE: AtomicUsize = AtomicUsize::new(0);
    static REPLAYS: AtomicUsize = AtomicUsize::new(0);

    explore("engine", || {
        let (store, runs) = (MemoryStore::new(), Runs::default());
        let processes = [engine(&store), engine(&store)];
        let callers = [0, 0, 1, 1].map(|process| {
            let (engine, runs) = (processes[process].clone(), Arc::clone(&runs));
            thread::spawn(move || call(&engine, &runs))
        });
        let answers = callers.map(|caller| caller.join().unwrap());
        let record = block_on(store.get(&key("k"))).unwrap();
        let record = record.expect("somebody has called");

        let mut runs = lock(&runs).clone();
        runs.sort_by_key(|(_, fence)| *fence);
        for pair in runs.windows(2) {
            // Each knows of the ones before, and has a higher fence.
            assert!(pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1, "{runs:?}");
        }
        let recorded = (record.state == State::Completed).then_some(record.fence.as_u64());
        for answer in &answers {
            match answer {
                Ok(value) => assert_eq!(Some(*value), recorded, "{runs:?}"),
                // Any of them may be late by any time.
                Err(Error::InProgress { .. } | Error::LeaseLost { .. } | Error::Store { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        let replays = answers.iter().flatten().count().saturating_sub(1);
        REPLAYS.fetch_add(replays, Ordering::Relaxed);
        TAKEOVERS.fetch_add(runs.len().saturating_sub(1), Ordering::Relaxed);
        LATE.fetch_add(usize::try_from(record.late).unwrap(), Ordering::Relaxed);
    });
    let [takeovers, late, replays] =
        [&TAKEOVERS, &LATE, &REPLAYS].map(|count| count.load(Ordering::Relaxed));
    println!("engine: {takeovers} takeovers, {late} late owners refused, {replays} replays");
    assert!(takeovers > 0 && late > 0 && replays > 0, "too tame");
}

/// A body that waits to hear that its lease is lost does so, whenever that comes.
#[test]
fn a_body_hears_that_its_lease_is_lost() {
    explore("lease lost", || {
        let store = MemoryStore::new();
        let engine = engine(&store);
        let running = thread::spawn(move || {
            let operation = engine.operation("interleavings").key("k");
            block_on(operation.run_with(async |attempt| {
                attempt.lease_lost().await;
                assert!(attempt.is_lease_lost());
                Ok::<_, Error>(1)
            }))
        });
        block_on(take_away(&store));
        let answer = running.join().unwrap();
        assert!(matches!(answer, Err(Error::LeaseLost { .. })), "{answer:?}");
    });
}

/// Frees the record in the owner's name, behind its back.
async fn take_away(store: &MemoryStore) {
    loop {
        if let Some(record) = store.get(&key("k")).await.unwrap() {
            let holder = Holder {
                owner: record.owner,
                fence: Some(record.fence),
            };
            let release = Release::new(Ending::Error, ReleaseMode::Free);
            let update = store.release(&key("k"), &holder, release).await.unwrap();
            assert_eq!(update, Update::Applied);
            return;
        }
        yield_now().await;
    }
}

/// When a body is done, nothing renews its lease any more, and its result stays what it is.
#[test]
fn a_finished_record_stays_as_it_is() {
    explore("renewal or completion", || {
        let (store, runs) = (MemoryStore::new(), Runs::default());
        let engine = engine(&store);
        let caller = thread::spawn(move || call(&engine, &runs));
        let finished = block_on(finished(&store));
        block_on(sleep(LEASE * 3));
        assert_eq!(block_on(store.get(&key("k"))).unwrap(), Some(finished));
        caller.join().unwrap().unwrap();
    });
}

async fn finished(store: &MemoryStore) -> Record {
    loop {
        if let Some(record) = store.get(&key("k")).await.unwrap()
            && record.state.is_finished()
        {
            return record;
        }
        yield_now().await;
    }
}
