//! What a purger does, and when.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap like tests")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use idempotent_core::protocol::{
    Claim, ClaimRequest, Completion, Grant, Holder, Release, StepReply, Update,
};
use idempotent_core::{
    Deletion, Event, EventKind, Fingerprint, Inspect, Key, MemoryStore, Owner, Page, Purged,
    Purger, Query, Record, Statistics, Step, Store, StoreError, Watch,
};
use tokio::time::{Instant, sleep};

const HOUR: Duration = Duration::from_secs(60 * 60);
const MINUTE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);
/// What tokio's timers are exact to.
const TICK: Duration = Duration::from_millis(1);

/// A purge that was asked for, and how many records it removed; `None` if it failed.
#[derive(Clone, Copy, Debug)]
struct Call {
    at: Instant,
    batch: usize,
    removed: Option<usize>,
}

/// A store in memory that notes each purge, and fails those that it is told to.
#[derive(Clone, Debug)]
struct Noted {
    store: MemoryStore,
    calls: Arc<Mutex<Vec<Call>>>,
    fails: fn(usize) -> bool,
    takes: Duration,
}

impl Noted {
    fn new() -> Self {
        Self::of(MemoryStore::new())
    }

    fn of(store: MemoryStore) -> Self {
        Self {
            store,
            calls: Arc::default(),
            fails: |_| false,
            takes: Duration::ZERO,
        }
    }

    /// Fails the purges that `fails` picks by their number, which counts from 0.
    fn failing(self, fails: fn(usize) -> bool) -> Self {
        Self { fails, ..self }
    }

    /// Takes so long to answer a purge.
    fn taking(self, takes: Duration) -> Self {
        Self { takes, ..self }
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    fn removed(&self) -> Vec<Option<usize>> {
        self.calls().iter().map(|call| call.removed).collect()
    }

    /// Adds `count` records that expire after `ttl`.
    async fn add(&self, count: usize, ttl: Duration) {
        let owner = Owner::random().unwrap();
        for number in 0..count {
            let key = Key::new("purger", &format!("{owner}-{number}")).unwrap();
            let fingerprint = Fingerprint::of("").unwrap();
            // What is in progress expires when its lease has ended, and `keep` after that.
            let mut request = ClaimRequest::new(owner, fingerprint, ttl / 2, ttl);
            request.keep = ttl / 2;
            let claim = self.claim(&key, &request).await.unwrap();
            assert!(matches!(claim, Claim::Granted(_)), "{claim:?}");
        }
    }

    async fn records(&self) -> usize {
        let statistics = self.statistics().await.unwrap();
        usize::try_from(statistics.expired + statistics.in_progress).unwrap()
    }
}

impl Inspect for Noted {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.store.get(key).await
    }

    async fn list(&self, query: &Query) -> Result<Page, StoreError> {
        self.store.list(query).await
    }

    async fn delete(&self, key: &Key) -> Result<Deletion, StoreError> {
        self.store.delete(key).await
    }

    async fn purge(&self, batch: usize) -> Result<Purged, StoreError> {
        let (at, number) = (Instant::now(), self.calls().len());
        let reply = if (self.fails)(number) {
            Err(StoreError::Unavailable("no answer".into()))
        } else {
            self.store.purge(batch).await
        };
        let removed = reply.as_ref().ok().map(|purged| purged.records);
        self.calls.lock().unwrap().push(Call { at, batch, removed });
        sleep(self.takes).await;
        reply
    }

    async fn statistics(&self) -> Result<Statistics, StoreError> {
        self.store.statistics().await
    }
}

impl Store for Noted {
    fn name(&self) -> &'static str {
        "noted"
    }

    async fn claim(&self, key: &Key, request: &ClaimRequest) -> Result<Claim, StoreError> {
        self.store.claim(key, request).await
    }

    async fn complete(
        &self,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<Update, StoreError> {
        self.store.complete(key, grant, completion).await
    }

    async fn record_step(
        &self,
        key: &Key,
        grant: &Grant,
        step: &Step,
        lease: Duration,
    ) -> Result<StepReply, StoreError> {
        self.store.record_step(key, grant, step, lease).await
    }

    async fn release(
        &self,
        key: &Key,
        holder: &Holder,
        release: Release,
    ) -> Result<Update, StoreError> {
        self.store.release(key, holder, release).await
    }

    async fn renew(&self, key: &Key, grant: &Grant, lease: Duration) -> Result<Update, StoreError> {
        self.store.renew(key, grant, lease).await
    }

    async fn watch(&self, key: &Key) -> Result<Watch, StoreError> {
        self.store.watch(key).await
    }
}

/// How long after the one before each call came, the first after `start`.
fn gaps(start: Instant, calls: &[Call]) -> Vec<Duration> {
    let before = [start].into_iter().chain(calls.iter().map(|call| call.at));
    calls
        .iter()
        .zip(before)
        .map(|(call, before)| call.at - before)
        .collect()
}

/// The first run, too: processes that start together would purge together.
#[tokio::test(start_paused = true)]
async fn runs_are_half_an_interval_to_a_whole_one_apart() {
    let (store, start) = (Noted::new(), Instant::now());
    let _purger = Purger::new(store.clone()).spawn();
    sleep(100 * HOUR).await;

    let mut gaps = gaps(start, &store.calls());
    assert!((6_000..=12_000).contains(&gaps.len()), "{}", gaps.len());
    gaps.sort_unstable();
    assert!(gaps[0] >= MINUTE / 2 && gaps[0] < MINUTE * 11 / 20);
    let last = gaps[gaps.len() - 1];
    assert!(last <= MINUTE + TICK && last > MINUTE * 19 / 20);
}

#[tokio::test(start_paused = true)]
async fn purgers_that_start_together_do_not_run_together() {
    let stores = [Noted::new(), Noted::new(), Noted::new()];
    let purgers = stores.clone().map(|store| Purger::new(store).spawn());
    sleep(10 * MINUTE).await;
    let times = stores.map(|store| store.calls().iter().map(|call| call.at).collect::<Vec<_>>());
    assert!(times[0] != times[1] || times[1] != times[2]);
    drop(purgers);
}

#[tokio::test(start_paused = true)]
async fn an_interval_of_ones_own_counts() {
    let (store, start) = (Noted::new(), Instant::now());
    let _purger = Purger::new(store.clone()).interval(2 * HOUR).spawn();
    sleep(100 * HOUR).await;
    let gaps = gaps(start, &store.calls());
    assert!((50..=100).contains(&gaps.len()), "{}", gaps.len());
    let fits = |gap: &Duration| (HOUR..=2 * HOUR + TICK).contains(gap);
    assert!(gaps.iter().all(fits), "{gaps:?}");
}

/// There may be reasons to say "never", and `Duration::MAX` cannot be multiplied.
#[tokio::test(start_paused = true)]
async fn the_longest_interval_does_not_overflow() {
    let store = Noted::new();
    let purger = Purger::new(store.clone()).interval(Duration::MAX).spawn();
    sleep(10_000 * HOUR).await;
    assert_eq!(store.calls().len(), 0);
    purger.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_removes_batch_after_batch_with_pauses_between() {
    let store = Noted::new();
    store.add(25, MINUTE).await;
    sleep(MINUTE).await;

    let start = Instant::now();
    let purger = Purger::new(store.clone()).batch(10).pause(PAUSE).spawn();
    sleep(MINUTE + 3 * PAUSE).await;
    purger.stop().await;
    let calls = store.calls();
    assert!(calls.iter().all(|call| call.batch == 10), "{calls:?}");
    assert_eq!(store.removed()[..3], [Some(10), Some(10), Some(5)]);
    assert_eq!(gaps(start, &calls)[1..3], [PAUSE, PAUSE]);
    // The run ended with the batch that was not full.
    assert!(calls.len() == 3 || calls[3].at - calls[2].at >= MINUTE / 2);
}

/// A batch of none would leave as many as there were, for ever.
#[tokio::test(start_paused = true)]
async fn a_batch_has_at_least_one_record() {
    let store = Noted::new();
    store.add(3, MINUTE).await;
    let _purger = Purger::new(store.clone()).batch(0).spawn();
    sleep(3 * MINUTE).await;
    assert_eq!(store.records().await, 0);
}

#[tokio::test(start_paused = true)]
async fn only_expired_records_go() {
    let store = Noted::new();
    store.add(40, MINUTE).await;
    store.add(30, 10 * HOUR).await;
    let _purger = Purger::new(store.clone()).batch(7).spawn();
    sleep(9 * HOUR).await;
    assert_eq!(store.records().await, 30);
    sleep(2 * HOUR).await;
    assert_eq!(store.records().await, 0);
}

/// Neither at the beginning of a run nor in its middle; and the store is not pressed.
#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_asked_again_in_the_next_run() {
    let store = Noted::new().failing(|number| matches!(number, 0 | 1 | 3));
    store.add(25, MINUTE).await;
    sleep(MINUTE).await;
    let _purger = Purger::new(store.clone()).batch(10).pause(PAUSE).spawn();
    sleep(6 * MINUTE).await;

    let removed = [None, None, Some(10), None, Some(10), Some(5)];
    assert_eq!(store.removed()[..6], removed);
    let calls = store.calls();
    for pair in calls.windows(2).take(5) {
        let gap = pair[1].at - pair[0].at;
        let goes_on = pair[0].removed.is_some();
        assert_eq!(gap < MINUTE / 2, goes_on, "{calls:?}");
    }
    assert_eq!(store.records().await, 0);
}

/// Each batch that has removed something, and each run that has failed; nothing where there is nothing.
#[tokio::test(start_paused = true)]
async fn an_observer_hears_of_purges_and_failures() {
    let store = Noted::new().failing(|number| number == 1);
    store.add(25, MINUTE).await;
    sleep(MINUTE).await;
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&events);
    let purger = Purger::new(store.clone())
        .batch(10)
        .observer(move |event: &Event<'_>| {
            assert_eq!((event.scope(), &*event.key()), ("", ""));
            heard.lock().unwrap().push((event.kind(), event.records()));
        });
    let purger = purger.spawn();
    sleep(10 * MINUTE).await;
    purger.stop().await;
    assert!(store.calls().len() > 4, "most runs had nothing to do");
    let expected = [
        (EventKind::Purged, 10),
        (EventKind::PurgeFailed, 0),
        (EventKind::Purged, 10),
        (EventKind::Purged, 5),
    ];
    assert_eq!(*events.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_purger_purges_no_more_and_lets_go_of_the_store() {
    let store = Noted::new();
    store.add(3, HOUR).await;
    let purger = Purger::new(store.clone()).spawn();
    sleep(10 * MINUTE).await;
    let before = store.calls().len();
    assert!(before > 0);
    assert_eq!(Arc::strong_count(&store.calls), 2);

    purger.stop().await;
    assert_eq!(Arc::strong_count(&store.calls), 1);
    sleep(10 * HOUR).await;
    assert_eq!((store.calls().len(), store.records().await), (before, 3));
}

#[tokio::test(start_paused = true)]
async fn a_purger_ends_with_its_handle() {
    let store = Noted::new();
    drop(Purger::new(store.clone()).spawn());
    sleep(HOUR).await;
    assert_eq!(store.calls().len(), 0);
}

/// It has no end of its own, and may be dropped at any point.
#[tokio::test(start_paused = true)]
async fn what_a_dropped_purger_leaves_is_the_next_ones() {
    let store = Noted::new().taking(PAUSE);
    store.add(100, MINUTE).await;
    sleep(MINUTE).await;
    let purger = Purger::new(store.clone()).batch(10).pause(PAUSE);
    // In the middle of a batch, and of a pause.
    for cut in [PAUSE / 2, PAUSE * 3 / 2] {
        tokio::select! {
            never = purger.clone().interval(Duration::ZERO).run() => match never {},
            () = sleep(cut) => {}
        }
    }
    assert_eq!(store.records().await, 80);
    let _purger = purger.spawn();
    sleep(3 * MINUTE).await;
    assert_eq!(store.removed().iter().flatten().sum::<usize>(), 100);
    assert_eq!(store.records().await, 0);
}

#[tokio::test(start_paused = true)]
async fn two_purgers_at_once_remove_each_record_once() {
    let store = MemoryStore::new();
    let stores = [Noted::of(store.clone()), Noted::of(store)];
    stores[0].add(1_000, MINUTE).await;
    sleep(MINUTE).await;
    // A run takes longer than any wait for one, so that both are at it at the same time.
    let purger = |store: &Noted| Purger::new(store.clone()).batch(7).pause(MINUTE / 60);
    let purgers = stores.each_ref().map(|store| purger(store).spawn());
    sleep(HOUR).await;

    let removed = stores
        .each_ref()
        .map(|store| store.removed().iter().flatten().sum::<usize>());
    assert_eq!(removed[0] + removed[1], 1_000);
    assert!(removed[0] > 7 && removed[1] > 7, "{removed:?}");
    assert_eq!(stores[0].records().await, 0);
    drop(purgers);
}
