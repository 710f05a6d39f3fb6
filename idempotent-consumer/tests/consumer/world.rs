//! A store in memory that fails on request, a broker in memory, and a count of effects.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use idempotent_consumer::{
    Builder, Consumer, Context, Delivery, Disposition, HandlerError, Message, MessageId, Mode,
    Processed, Source, TestBroker, TestSettle, TestSource, Worker,
};
use idempotent_core::{Engine, Inspect, Key, MemoryStore, Record};
use idempotent_testkit::faults::Faults;

pub(crate) const SCOPE: &str = "test";
pub(crate) const LEASE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) broker: TestBroker,
    pub(crate) effects: Effects,
    pub(crate) engine: Engine,
    pub(crate) faults: Faults,
    pub(crate) source: TestSource,
    pub(crate) store: MemoryStore,
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

impl World {
    pub(crate) fn new() -> Self {
        Self::with(TestBroker::new())
    }

    pub(crate) fn with(broker: TestBroker) -> Self {
        let (store, faults) = (MemoryStore::new(), Faults::new());
        let engine = Engine::builder(faults.wrap(store.clone()))
            .record_patience(Duration::from_secs(2))
            .build();
        Self {
            source: broker.source(),
            broker,
            effects: Effects::default(),
            engine,
            faults,
            store,
        }
    }

    pub(crate) fn builder(&self) -> Builder {
        Consumer::builder(self.engine.clone(), SCOPE).lease(LEASE)
    }

    pub(crate) fn consumer(&self) -> Consumer {
        self.builder().build().unwrap()
    }

    /// A worker whose handler takes effect, and says the how manieth time it was.
    pub(crate) fn counting(&self, consumer: &Consumer) -> Worker<impl Mode<Value = u32> + use<>> {
        self.handling(consumer, |run| async move { Ok(run) })
    }

    /// A worker whose handler takes effect, and then goes on as `then` says.
    pub(crate) fn handling<H, F>(
        &self,
        consumer: &Consumer,
        then: H,
    ) -> Worker<impl Mode<Value = u32> + use<H, F>>
    where
        H: Fn(u32) -> F + Send + Sync + 'static,
        F: Future<Output = Result<u32, HandlerError>> + Send + 'static,
    {
        let effects = self.effects.clone();
        consumer.leased(move |_: Message, _: Context| then(effects.happen()))
    }

    /// Publishes a message, and takes its delivery.
    pub(crate) async fn delivery(&mut self, id: &str) -> Delivery<TestSettle> {
        self.broker.publish(message(id));
        self.next().await
    }

    /// The next delivery there is.
    pub(crate) async fn next(&mut self) -> Delivery<TestSettle> {
        self.source.next().await.unwrap().unwrap()
    }

    pub(crate) async fn record(&self, id: &str) -> Option<Record> {
        self.store.get(&Key::new(SCOPE, id).unwrap()).await.unwrap()
    }

    /// How often the handler of the message has failed, by its record.
    pub(crate) async fn failures(&self, id: &str) -> u32 {
        self.record(id).await.unwrap().failures
    }
}

/// A message with an id of its producer's.
pub(crate) fn message(id: &str) -> Message {
    Message::new("tea").with_id(MessageId::Producer(id.to_owned()))
}

/// When the delivery is to come again, and whether that counts as a failure.
#[track_caller]
pub(crate) fn retried<T>(processed: &Processed<T>) -> (Duration, bool) {
    match processed.disposition {
        Disposition::Retry { after, counted } => (after, counted),
        ref other => panic!("not to be tried again: {other:?}"),
    }
}

/// The word for why the message is put aside.
#[track_caller]
pub(crate) fn dead<T>(processed: &Processed<T>) -> &'static str {
    match &processed.disposition {
        Disposition::DeadLetter(reason) => reason.kind.name(),
        other => panic!("not put aside: {other:?}"),
    }
}

pub(crate) fn is_acked<T>(processed: &Processed<T>) -> bool {
    processed.disposition == Disposition::Ack
}

/// Polls `future` once.
pub(crate) async fn begin<F: Future>(future: &mut Pin<Box<F>>) {
    poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending(), "it is to go on");
        Poll::Ready(())
    })
    .await;
}

/// A process dies in the middle of `future`: nobody is told, not even by its being dropped.
pub(crate) async fn crash<F: Future>(future: F) {
    let mut future = Box::pin(future);
    begin(&mut future).await;
    std::mem::forget(future);
}
