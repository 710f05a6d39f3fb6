//! What is counted with the `metrics` facade.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap like tests")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use idempotent_core::{Clock, Engine, Error, MemoryStore, Purger};
use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};

/// Counters by their names and labels.
#[derive(Debug, Default)]
struct Counters(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Counters {
    fn count(&self, name: &str) -> u64 {
        let counters = self.0.lock().unwrap();
        counters
            .get(name)
            .map_or(0, |counter| counter.load(Ordering::SeqCst))
    }
}

impl Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels = key
            .labels()
            .map(|label| format!(" {}={}", label.key(), label.value()));
        let name = [key.name().to_owned()].into_iter().chain(labels).collect();
        let mut counters = self.0.lock().unwrap();
        Counter::from_arc(Arc::clone(counters.entry(name).or_default()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn events_and_purged_records_are_counted() {
    let counters = Counters::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    with_local_recorder(&counters, || {
        runtime.block_on(async {
            let clock = Clock::manual();
            let store = MemoryStore::new().with_clock(clock.clone());
            let ttl = Duration::from_secs(1);
            let engine = Engine::builder(store.clone()).ttl(ttl).build();
            for key in [1, 2, 3, 3] {
                let operation = engine.operation("orders").key(key);
                operation.run(async { Ok::<_, Error>(key) }).await.unwrap();
            }
            clock.advance(ttl * 2);
            let purger = Purger::new(store).batch(2).spawn();
            tokio::time::sleep(Duration::from_secs(90)).await;
            purger.stop().await;
        });
    });
    let event = |event, scope| {
        counters.count(&format!(
            "idempotency_events_total event={event} scope={scope}"
        ))
    };
    assert_eq!(
        (event("executed", "orders"), event("replayed", "orders")),
        (3, 1)
    );
    assert_eq!(event("purged", ""), 2);
    let purged = "idempotency_purged_records_total store=memory";
    assert_eq!(counters.count(purged), 3);
}
