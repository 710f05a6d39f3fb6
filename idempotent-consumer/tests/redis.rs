//! Consumers of Redis Streams, on servers that the tests start and kill.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test, outside of its functions too")]

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use idempotent_consumer::brokers::redis::RedisStream;
use idempotent_consumer::{Backoff, Consumer, EventKind, HandlerError, Message, MessageId, Source};
use idempotent_core::{Engine, MemoryStore};
use idempotent_testkit::server::RedisServer;
use redis::streams::{StreamPendingReply, StreamRangeReply};
use redis::{AsyncCommands, Client, Value};
use tokio::time::{sleep, timeout};

const VISIBILITY: Duration = Duration::from_millis(400);

struct World {
    server: RedisServer,
    stream: RedisStream,
    engine: Engine,
    effects: Effects,
}

/// How often each message took effect.
#[derive(Clone, Default)]
struct Effects(Arc<Mutex<BTreeMap<String, usize>>>);

impl Effects {
    fn happen(&self, message: &Message) -> usize {
        let body = String::from_utf8_lossy(&message.body).into_owned();
        let mut effects = self.0.lock().unwrap();
        let count = effects.entry(body).or_default();
        *count += 1;
        *count
    }

    fn counts(&self) -> Vec<usize> {
        self.0.lock().unwrap().values().copied().collect()
    }
}

impl World {
    fn new() -> Self {
        Self::on(RedisServer::start().unwrap())
    }

    fn on(server: RedisServer) -> Self {
        let client = Client::open(server.url()).unwrap();
        Self {
            server,
            stream: RedisStream::new(client, "orders", "billing").visibility(VISIBILITY),
            engine: Engine::new(MemoryStore::new()),
            effects: Effects::default(),
        }
    }

    fn consumer(&self) -> Consumer {
        let fast = Backoff::new(Duration::from_millis(20), Duration::from_millis(50));
        let builder = Consumer::builder(self.engine.clone(), "billing.charge").backoff(fast);
        builder.max_attempts(3).build().unwrap()
    }

    async fn publish(&self, number: usize) {
        let message = Message::new(number.to_string());
        let message = message.with_id(MessageId::Producer(format!("order-{number}")));
        self.stream
            .publish(&message.with_header("tenant", "acme"))
            .await
            .unwrap();
    }

    async fn pending(&self) -> usize {
        let mut connection = self.connect().await;
        let reply = connection.xpending("orders", "billing").await.unwrap();
        match reply {
            StreamPendingReply::Data(data) => data.count,
            _ => 0,
        }
    }

    async fn connect(&self) -> redis::aio::MultiplexedConnection {
        let client = Client::open(self.server.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// Consumes until `done`, which is asked again and again.
    async fn consume_until<F: Future<Output = bool> + Send>(
        &self,
        consumer: &Consumer,
        handler: impl Fn(&Message, usize) -> Result<(), HandlerError> + Send + Sync + 'static,
        done: impl Fn() -> F + Send + Sync,
    ) {
        let effects = self.effects.clone();
        let handler = Arc::new(handler);
        let worker = consumer.leased(move |message: Message, _| {
            let (effects, handler) = (effects.clone(), Arc::clone(&handler));
            async move {
                assert_eq!(message.headers, [("tenant".to_owned(), "acme".to_owned())]);
                let count = effects.happen(&message);
                handler(&message, count)
            }
        });
        let source = self.stream.open().await.unwrap();
        let until = async {
            while !done().await {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let ran = timeout(Duration::from_secs(60), worker.run(source, until)).await;
        ran.unwrap().unwrap();
    }
}

/// M7, M12.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_published_twice_takes_effect_once() {
    let world = World::new();
    for number in (0..100).chain(0..100) {
        world.publish(number).await;
    }
    let (one, two) = (world.consumer(), world.consumer());
    let all = || async {
        let done = one.counts().of(EventKind::Executed) + two.counts().of(EventKind::Executed);
        done == 100 && world.pending().await == 0
    };
    tokio::join!(
        world.consume_until(&one, |_, _| Ok(()), all),
        world.consume_until(&two, |_, _| Ok(()), all),
    );
    assert_eq!(world.effects.counts(), vec![1; 100]);
    let duplicates = one.counts().of(EventKind::Duplicate) + two.counts().of(EventKind::Duplicate);
    assert_eq!(duplicates, 100);
}

/// M55: what was delivered to a consumer that is gone is taken over, and not before it was idle for long
/// enough.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_consumer_had_is_taken_over() {
    let world = World::new();
    world.publish(1).await;
    let mut dead = world.stream.open().await.unwrap();
    let delivery = dead.next().await.unwrap().unwrap();
    drop(dead);
    let mut other = world.stream.open().await.unwrap();
    let early = timeout(VISIBILITY / 2, other.next()).await;
    assert!(early.is_err(), "the other may still be at it");
    drop((delivery, other));
    let consumer = world.consumer();
    let done = || async { world.effects.counts() == [1] && world.pending().await == 0 };
    world.consume_until(&consumer, |_, _| Ok(()), done).await;
}

/// M35: a handler that takes longer than the visibility keeps its message.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_handler_keeps_its_message() {
    let world = World::new();
    world.publish(1).await;
    let effects = world.effects.clone();
    let slow = world.consumer().leased(move |message: Message, _| {
        let effects = effects.clone();
        async move {
            effects.happen(&message);
            sleep(VISIBILITY * 4).await;
            Ok(())
        }
    });
    let source = world.stream.open().await.unwrap();
    let done = async {
        while world.effects.counts().is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
        let mut other = world.stream.open().await.unwrap();
        assert!(timeout(VISIBILITY * 3, other.next()).await.is_err());
    };
    slow.run(source, done).await.unwrap();
    assert_eq!(
        (world.effects.counts(), world.pending().await),
        (vec![1], 0)
    );
}

/// M16, M18, M27, M41.
#[tokio::test(flavor = "multi_thread")]
async fn a_poison_message_is_put_aside_and_handled_when_it_is_sent_back() {
    let world = World::new();
    world.publish(1).await;
    let consumer = world.consumer();
    let fails = |_: &Message, _| Err(HandlerError::retryable("no stock"));
    let mut connection = world.connect().await;
    let reader = connection.clone();
    let dead = || {
        let mut reader = reader.clone();
        async move { reader.xlen::<_, usize>("orders:dead").await.unwrap() == 1 }
    };
    world.consume_until(&consumer, fails, dead).await;
    assert_eq!(
        (world.effects.counts(), world.pending().await),
        (vec![3], 0)
    );
    let letters: StreamRangeReply = connection.xrange_all("orders:dead").await.unwrap();
    let field = |name: &str| match letters.ids[0].map.get(name) {
        Some(Value::BulkString(bytes)) => String::from_utf8(bytes.clone()).unwrap(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(field("idempotency-reason"), "exhausted");
    assert_eq!(field("idempotency-failures"), "3");
    assert_eq!(field("idempotency-error"), "no stock");
    assert_eq!(
        (field("id"), field("tenant")),
        ("order-1".to_owned(), "acme".to_owned())
    );

    world.publish(1).await;
    let done = || async { world.pending().await == 0 && world.effects.counts() == [5] };
    let fails_once_more = |_: &Message, count| {
        if count == 4 {
            Err(HandlerError::retryable("not yet"))
        } else {
            Ok(())
        }
    };
    world.consume_until(&consumer, fails_once_more, done).await;
}

/// M38, M39: whatever the server forgets to say, it delivers again.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_loses_nothing_that_it_has_kept() {
    let server = RedisServer::builder()
        .arg("--appendonly", "yes")
        .arg("--appendfsync", "always");
    let mut world = World::on(server.start().unwrap());
    for number in 0..50 {
        world.publish(number).await;
    }
    let consumer = world.consumer();
    let effects = world.effects.clone();
    let worker = consumer.leased(move |message: Message, _| {
        let effects = effects.clone();
        async move {
            sleep(Duration::from_millis(30)).await;
            effects.happen(&message);
            Ok(())
        }
    });
    let source = world.stream.open().await.unwrap();
    let running = tokio::spawn(async move { worker.run(source, pending()).await });
    sleep(Duration::from_millis(60)).await;
    world.server.restart().unwrap();
    let done = async {
        while world.effects.counts().len() < 50 || world.pending().await > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(30), done).await.unwrap();
    running.abort();
    assert_eq!(world.effects.counts(), vec![1; 50]);
}

/// M3, M4: an entry without an id has its position.
#[tokio::test]
async fn an_entry_without_an_id_has_its_position() {
    let world = World::new();
    world.stream.publish(&Message::new("tea")).await.unwrap();
    let mut source = world.stream.open().await.unwrap();
    let delivery = source.next().await.unwrap().unwrap();
    let Some(MessageId::Broker(id)) = &delivery.message.id else {
        panic!("{:?}", delivery.message.id);
    };
    assert!(id.starts_with("orders/"), "{id}");
    assert_eq!(&*delivery.message.body, b"tea");
}
