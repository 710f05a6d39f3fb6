//! Consumers of RabbitMQ, on servers that the tests start and kill.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test, outside of its functions too")]

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use idempotent_consumer::brokers::rabbitmq::{RabbitError, RabbitQueue};
use idempotent_consumer::{
    Backoff, Consumer, EventKind, HandlerError, Message, MessageId, Settle, Source,
};
use idempotent_core::{Engine, MemoryStore};
use idempotent_testkit::server::RabbitServer;
use lapin::message::BasicGetMessage;
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::time::{sleep, timeout};

const SOON: Duration = Duration::from_secs(60);
const LIMIT: i32 = 3;

struct World {
    server: RabbitServer,
    queue: RabbitQueue,
    engine: Engine,
    effects: Effects,
    _connection: Connection,
    channel: Channel,
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
    /// A quorum queue, which gives a message up after [`LIMIT`] deliveries, and one for dead letters.
    async fn new() -> Self {
        let server = RabbitServer::start().unwrap();
        let name = ConnectionProperties::default();
        let connection = Connection::connect(&server.url(), name).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        for (queue, limit) in [("orders", Some(LIMIT)), ("orders.dead", None)] {
            let mut arguments = FieldTable::default();
            let kind = AMQPValue::LongString("quorum".into());
            arguments.insert("x-queue-type".into(), kind);
            if let Some(limit) = limit {
                arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(limit));
            }
            let durable = QueueDeclareOptions::durable();
            let declared = channel.queue_declare(queue.into(), durable, arguments);
            declared.await.unwrap();
        }
        Self {
            queue: RabbitQueue::new(&server.url(), "orders").dead_letters_to("", "orders.dead"),
            server,
            engine: Engine::new(MemoryStore::new()),
            effects: Effects::default(),
            _connection: connection,
            channel,
        }
    }

    fn consumer(&self, attempts: u32) -> Consumer {
        let fast = Backoff::new(Duration::from_millis(20), Duration::from_millis(50));
        let builder = Consumer::builder(self.engine.clone(), "billing.charge").backoff(fast);
        let builder = builder.in_progress_wait(Duration::from_millis(20));
        builder.max_attempts(attempts).build().unwrap()
    }

    async fn publish(&self, number: usize) {
        let message = Message::new(number.to_string());
        let message = message.with_id(MessageId::Producer(format!("order-{number}")));
        let message = message.with_header("tenant", "acme");
        self.queue.publish(&message).await.unwrap();
    }

    /// How many messages are ready; it does not count those that are not settled.
    async fn ready(&self, queue: &str) -> u32 {
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let arguments = FieldTable::default();
        let queue = self.channel.queue_declare(queue.into(), passive, arguments);
        queue.await.unwrap().message_count()
    }

    async fn dead_letter(&self) -> Option<BasicGetMessage> {
        let taken = BasicGetOptions { no_ack: true };
        let got = self.channel.basic_get("orders.dead".into(), taken);
        got.await.unwrap()
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
                assert_eq!(message.header("tenant"), Some("acme"));
                let count = effects.happen(&message);
                handler(&message, count)
            }
        });
        let source = self.queue.open().await.unwrap();
        let until = async {
            while !done().await {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(SOON, worker.run(source, until))
            .await
            .unwrap()
            .unwrap();
    }
}

/// M7, M12, M47.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_published_twice_takes_effect_once() {
    let world = World::new().await;
    for number in (0..100).chain(0..100) {
        world.publish(number).await;
    }
    let (one, two) = (world.consumer(3), world.consumer(3));
    let settled = || async {
        let of = |kind| one.counts().of(kind) + two.counts().of(kind);
        of(EventKind::Executed) == 100 && of(EventKind::Duplicate) == 100
    };
    tokio::join!(
        world.consume_until(&one, |_, _| Ok(()), settled),
        world.consume_until(&two, |_, _| Ok(()), settled),
    );
    assert_eq!(world.effects.counts(), vec![1; 100]);
    // What was not acknowledged would be ready again, with its channel closed.
    sleep(Duration::from_millis(500)).await;
    let left = (
        world.ready("orders").await,
        world.ready("orders.dead").await,
    );
    assert_eq!(left, (0, 0));
}

/// M48: a message that another consumer is at is looked at more often than the queue delivers it, and is
/// not given up.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_another_consumer_is_not_counted() {
    let world = World::new().await;
    world.publish(1).await;
    world.publish(1).await;
    let builder = Consumer::builder(world.engine.clone(), "billing.charge");
    let builder = builder.in_progress_wait(Duration::from_millis(20));
    let consumer = builder.lease(Duration::from_secs(1)).build().unwrap();
    let (effects, counted) = (world.effects.clone(), consumer.clone());
    let worker = consumer.leased(move |message: Message, _| {
        let (effects, counted) = (effects.clone(), counted.clone());
        async move {
            effects.happen(&message);
            while counted.counts().of(EventKind::InProgress) < 10 {
                sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        }
    });
    let source = world.queue.open().await.unwrap();
    let done = async {
        while consumer.counts().of(EventKind::Duplicate) == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let ran = timeout(SOON, worker.run(source, done)).await;
    ran.unwrap().unwrap();
    assert_eq!(world.effects.counts(), [1]);
    assert_eq!(world.ready("orders.dead").await, 0);
}

/// M16, M18, M27, M41: attempts, backoff, a dead letter that says why, and a copy that is sent back.
#[tokio::test(flavor = "multi_thread")]
async fn a_poison_message_is_put_aside_and_handled_when_it_is_sent_back() {
    let world = World::new().await;
    world.publish(1).await;
    let consumer = world.consumer(3);
    let fails = |_: &Message, _| Err(HandlerError::retryable("no stock"));
    let dead = || async { world.ready("orders.dead").await == 1 };
    world.consume_until(&consumer, fails, dead).await;
    assert_eq!(world.effects.counts(), [3]);

    let letter = world.dead_letter().await.unwrap().delivery;
    let headers = letter.properties.headers().clone().unwrap();
    let header = |name: &str| match headers.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(header("idempotency-reason"), "exhausted");
    assert_eq!(header("idempotency-failures"), "3");
    assert_eq!(header("idempotency-error"), "no stock");
    assert_eq!(header("tenant"), "acme");
    let id = letter.properties.message_id().as_ref().unwrap();
    assert_eq!((id.as_str(), &*letter.data), ("order-1", &b"1"[..]));

    world.publish(1).await;
    let done = || async { consumer.counts().of(EventKind::Executed) == 1 };
    world.consume_until(&consumer, |_, _| Ok(()), done).await;
    assert_eq!(world.effects.counts(), [4]);
    assert_eq!(world.ready("orders.dead").await, 0);
}

/// M20, M58: what a consumer had that is gone comes to another.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_consumer_had_comes_to_another() {
    let world = World::new().await;
    world.publish(1).await;
    let mut dead = world.queue.open().await.unwrap();
    let delivery = dead.next().await.unwrap().unwrap();
    assert_eq!(delivery.settle.attempts_hint(), None);
    drop((dead, delivery));
    let consumer = world.consumer(3);
    let done = || async { consumer.counts().of(EventKind::Executed) == 1 };
    world.consume_until(&consumer, |_, _| Ok(()), done).await;
    assert_eq!(world.effects.counts(), [1]);
}

/// M38, M39: whatever the server forgets to say, it delivers again.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_loses_nothing_that_it_has_confirmed() {
    let mut world = World::new().await;
    for number in 0..100 {
        world.publish(number).await;
    }
    let consumer = world.consumer(3);
    let effects = world.effects.clone();
    let worker = consumer.leased(move |message: Message, _| {
        let effects = effects.clone();
        async move {
            sleep(Duration::from_millis(100)).await;
            effects.happen(&message);
            Ok(())
        }
    });
    let source = world.queue.open().await.unwrap();
    let running = tokio::spawn(async move { worker.run(source, pending()).await });
    while world.effects.counts().is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
    world.server.restart().unwrap();
    let done = async {
        while world.effects.counts().len() < 100 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, done).await.unwrap();
    running.abort();
    assert_eq!(world.effects.counts(), vec![1; 100]);
}

/// M32: nothing is consumed before somebody has said where dead letters go; a place that keeps none is an
/// error when it is used, and the message comes again.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_not_lost_where_nobody_keeps_dead_letters() {
    let world = World::new().await;
    let unsaid = RabbitQueue::new(&world.server.url(), "orders");
    let error = unsaid.open().await.unwrap_err();
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert!(text.contains("RabbitMQ may delete a message"), "{text}");

    let missing = RabbitQueue::new(&world.server.url(), "missing").dead_letters_by_policy();
    let error = missing.publish(&Message::new("tea")).await.unwrap_err();
    assert!(matches!(error, RabbitError::NoQueue { .. }), "{error:?}");
    missing.open().await.unwrap_err();

    world.publish(1).await;
    let nowhere = world.queue.clone().dead_letters_to("", "nowhere");
    let consumer = world.consumer(1);
    let worker = consumer.leased(|_, _| async { Err::<(), _>(HandlerError::permanent("bad")) });
    let source = nowhere.open().await.unwrap();
    let failed = async {
        while consumer.counts().of(EventKind::SettleError) == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, worker.run(source, failed))
        .await
        .unwrap()
        .unwrap();
    let consumer = world.consumer(3);
    let done = || async { consumer.counts().of(EventKind::Executed) == 1 };
    world.consume_until(&consumer, |_, _| Ok(()), done).await;
    assert_eq!(world.effects.counts(), [1]);
}
