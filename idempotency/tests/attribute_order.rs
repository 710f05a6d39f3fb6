//! Attributes above and below `#[idempotent]`: each sees what those above it made of the function.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use idempotency::{Engine, Error, MemoryStore, idempotent};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber, instrument};

#[idempotent(key = id, engine = engine)]
#[instrument(target = "tests", skip(engine))]
async fn above_instrument(engine: &Engine, id: u32) -> Result<u32, Error> {
    Ok(id)
}

#[instrument(target = "tests", skip(engine))]
#[idempotent(key = id, engine = engine)]
async fn below_instrument(engine: &Engine, id: u32) -> Result<u32, Error> {
    Ok(id)
}

#[async_trait::async_trait]
trait Service {
    async fn above(&self, id: u32) -> Result<u32, Error>;
    async fn below(&self, id: u32) -> Result<u32, Error>;
}

#[async_trait::async_trait]
impl Service for Engine {
    #[idempotent(key = id, engine = self)]
    #[instrument(target = "tests", skip(self))]
    async fn above(&self, id: u32) -> Result<u32, Error> {
        Ok(id)
    }

    #[instrument(target = "tests", skip(self))]
    #[idempotent(key = id, engine = self)]
    async fn below(&self, id: u32) -> Result<u32, Error> {
        Ok(id)
    }
}

/// Counts the spans that `#[instrument]` opens.
#[derive(Clone, Default)]
struct Spans(Arc<AtomicU64>);

impl Spans {
    fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target() == "tests"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn above_instrument_replays_are_in_the_span_too() {
    let spans = Spans::default();
    let _guard = tracing::subscriber::set_default(spans.clone());
    let engine = Engine::new(MemoryStore::new());

    above_instrument(&engine, 1).await.unwrap();
    above_instrument(&engine, 1).await.unwrap();
    assert_eq!(spans.take(), 2);

    engine.above(1).await.unwrap();
    engine.above(1).await.unwrap();
    assert_eq!(spans.take(), 2);
}

#[tokio::test]
async fn below_instrument_only_executions_are_in_the_span() {
    let spans = Spans::default();
    let _guard = tracing::subscriber::set_default(spans.clone());
    let engine = Engine::new(MemoryStore::new());

    below_instrument(&engine, 1).await.unwrap();
    below_instrument(&engine, 1).await.unwrap();
    assert_eq!(spans.take(), 1);

    engine.below(1).await.unwrap();
    engine.below(1).await.unwrap();
    assert_eq!(spans.take(), 1);
}
