//! An engine over memory, whose time moves by hand, and a count of effects.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use idempotent_core::{
    Engine, EngineBuilder, Error, Event, EventKind, Inspect, Key, MemoryStore, NoKey, Operation,
    Record,
};
use idempotent_testkit::faults::Faults;

pub(crate) const LEASE: Duration = Duration::from_secs(30);
pub(crate) const MOMENT: Duration = Duration::from_millis(1);

/// The engine's default store, and everything that tests look at.
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) faults: Faults,
    pub(crate) store: MemoryStore,
    pub(crate) effects: Effects,
    pub(crate) events: Events,
}

/// How often something happened.
#[derive(Clone, Default)]
pub(crate) struct Effects(Arc<AtomicU32>);

impl Effects {
    /// Happens, and says the how manieth time it was.
    pub(crate) fn happen(&self) -> u32 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

/// The events of an engine.
#[derive(Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<EventKind>>>);

impl Events {
    pub(crate) fn observe(&self, builder: EngineBuilder) -> EngineBuilder {
        let events = self.clone();
        builder.observer(move |event: &Event<'_>| events.0.lock().unwrap().push(event.kind()))
    }

    pub(crate) fn count(&self, kind: EventKind) -> usize {
        self.0
            .lock()
            .unwrap()
            .iter()
            .filter(|event| **event == kind)
            .count()
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with(configure: impl FnOnce(EngineBuilder) -> EngineBuilder) -> Self {
        let (store, events, faults) = (MemoryStore::new(), Events::default(), Faults::new());
        let behind = faults.wrap(store.clone());
        let engine = configure(events.observe(Engine::builder(behind))).build();
        Self {
            engine,
            faults,
            store,
            effects: Effects::default(),
            events,
        }
    }

    pub(crate) fn operation(&self) -> Operation {
        named(self.engine.operation("test"))
    }

    /// Runs an operation that takes effect and returns how often it has.
    pub(crate) async fn call(&self) -> Result<u32, Error> {
        let effects = self.effects.clone();
        self.operation()
            .run(async move { Ok(effects.happen()) })
            .await
    }

    pub(crate) async fn record(&self) -> Option<Record> {
        self.store.get(&key()).await.unwrap()
    }
}

pub(crate) fn named(operation: Operation<NoKey>) -> Operation {
    operation.key("key")
}

pub(crate) fn key() -> Key {
    Key::new("test", "key").unwrap()
}

/// Lets everything that can run now do so.
pub(crate) async fn settle() {
    for _ in 0..32 {
        tokio::task::yield_now().await;
    }
}

/// Polls `future` once, and not again before `thawed`: a process that stands still, with its lease
/// running out.
pub(crate) async fn frozen_until<F: Future>(
    thawed: tokio::sync::oneshot::Receiver<()>,
    future: F,
) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        assert!(
            future.as_mut().poll(cx).is_pending(),
            "it must be in the middle of something"
        );
        Poll::Ready(())
    })
    .await;
    thawed.await.unwrap();
    future.await
}
