//! Consumers of NATS `JetStream`, on servers that the tests start and kill.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test, outside of its functions too")]

use std::collections::BTreeMap;
use std::error::Error;
use std::future::{Future, pending};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::context::Context;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream;
use idempotent_consumer::brokers::nats::{JetStream, NatsError, NatsSource};
use idempotent_consumer::{
    Backoff, ConfigError, Consumer, EventKind, HandlerError, Message, MessageId, RunError, Settle,
    Source, SourceError,
};
use idempotent_core::{Engine, MemoryStore};
use idempotent_testkit::server::NatsServer;
use tokio::time::{sleep, timeout};

const VISIBILITY: Duration = Duration::from_secs(1);
/// The server's own deduplication, which would do the consumer's work and drop what is sent back, is over
/// after this.
const WINDOW: Duration = Duration::from_millis(100);

struct World {
    server: NatsServer,
    context: Context,
    stream: JetStream,
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
    async fn new() -> Self {
        let server = NatsServer::start().unwrap();
        let client = async_nats::connect(server.url()).await.unwrap();
        let world = Self {
            context: async_nats::jetstream::new(client.clone()),
            stream: JetStream::new(client, "orders", "billing").visibility(VISIBILITY),
            engine: Engine::new(MemoryStore::new()),
            effects: Effects::default(),
            server,
        };
        world.create("orders", "orders.new.*").await;
        world.create("put-aside", "orders.dead").await;
        world
    }

    async fn create(&self, name: &str, subject: &str) {
        let config = stream::Config {
            name: name.to_owned(),
            subjects: vec![subject.to_owned()],
            duplicate_window: WINDOW,
            ..stream::Config::default()
        };
        self.context.create_stream(config).await.unwrap();
    }

    /// Creates the consumer with what `change` makes of its usual settings.
    async fn consumer_with(&self, change: impl Fn(&mut pull::Config)) {
        let mut config = pull::Config {
            durable_name: Some("billing".to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: VISIBILITY,
            ..pull::Config::default()
        };
        change(&mut config);
        let created = self.context.create_consumer_on_stream(config, "orders");
        created.await.unwrap();
    }

    fn consumer(&self) -> Consumer {
        let fast = Backoff::new(Duration::from_millis(20), Duration::from_millis(50));
        let builder = Consumer::builder(self.engine.clone(), "billing.charge").backoff(fast);
        builder.max_attempts(3).build().unwrap()
    }

    async fn publish(&self, number: usize) {
        let message = Message::new(number.to_string()).with_subject("orders.new.eu");
        let message = message.with_id(MessageId::Producer(format!("order-{number}")));
        let message = message.with_header("tenant", "acme");
        let stored = self.stream.publish(&message).await.unwrap();
        assert!(!stored.duplicate);
    }

    /// How many messages are not settled for good.
    async fn pending(&self) -> usize {
        let stream = self.context.get_stream("orders").await.unwrap();
        let info = stream.consumer_info("billing").await.unwrap();
        info.num_ack_pending + usize::try_from(info.num_pending).unwrap()
    }

    async fn dead(&self) -> u64 {
        let stream = self.context.get_stream("put-aside").await.unwrap();
        stream.cached_info().state.messages
    }

    async fn refused(&self) -> SourceError {
        self.stream.open().await.unwrap_err()
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
                assert_eq!(message.subject, "orders.new.eu");
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

fn cause<E: Error + 'static>(error: &SourceError) -> &E {
    let cause = error.source().unwrap();
    cause.downcast_ref().unwrap()
}

/// M7, M12.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_published_twice_takes_effect_once() {
    let world = World::new().await;
    for number in 0..100 {
        world.publish(number).await;
    }
    // Else the server drops them.
    sleep(WINDOW * 3).await;
    for number in 0..100 {
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

/// What was delivered to a consumer that is gone comes again, and not before it was left alone for long
/// enough.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_consumer_had_is_taken_over() {
    let world = World::new().await;
    world.publish(1).await;
    let mut dead = world.stream.open().await.unwrap();
    let delivery = dead.next().await.unwrap().unwrap();
    assert_eq!(delivery.settle.attempts_hint(), Some(0));
    drop((delivery, dead));
    let mut other = world.stream.open().await.unwrap();
    let early = timeout(VISIBILITY / 2, other.next()).await;
    assert!(early.is_err(), "the other may still be at it");
    let delivery = other.next().await.unwrap().unwrap();
    assert_eq!(delivery.settle.attempts_hint(), Some(1));
    drop((delivery, other));
    let consumer = world.consumer();
    let done = || async { world.effects.counts() == [1] && world.pending().await == 0 };
    world.consume_until(&consumer, |_, _| Ok(()), done).await;
}

/// M35: a handler that takes longer than the visibility keeps its message.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_handler_keeps_its_message() {
    let world = World::new().await;
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

/// M16, M18, M27, M41, M51. It is sent back and put aside twice: the second dead letter is none that the server
/// takes for a copy of the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_poison_message_is_put_aside_and_handled_when_it_is_sent_back() {
    let world = World::new().await;
    let consumer = world.consumer();
    let fails = |_: &Message, _| Err(HandlerError::retryable("no\nstock"));
    for time in 1..=2 {
        world.publish(1).await;
        let dead = || async { world.dead().await == time && world.pending().await == 0 };
        world.consume_until(&consumer, fails, dead).await;
        sleep(WINDOW * 3).await;
    }
    assert_eq!(world.effects.counts(), [6]);
    let stream = world.context.get_stream("put-aside").await.unwrap();
    let letter: StreamMessage = stream.get_raw_message(1).await.unwrap();
    let header = |name: &str| letter.headers.get(name).unwrap().as_str().to_owned();
    assert_eq!(header("idempotency-reason"), "exhausted");
    assert_eq!(header("idempotency-failures"), "3");
    assert_eq!(header("idempotency-error"), "no stock");
    assert_eq!(header("idempotency-message-id"), "order-1");
    assert_eq!(header("idempotency-subject"), "orders.new.eu");
    assert_eq!(header("Nats-Msg-Id"), "order-1:dlq:billing:orders/1");
    assert_eq!(
        (header("tenant"), &*letter.payload),
        ("acme".to_owned(), &b"1"[..])
    );

    world.publish(1).await;
    let done = || async { world.pending().await == 0 && world.effects.counts() == [8] };
    let fails_once_more = |_: &Message, count| {
        if count == 7 {
            Err(HandlerError::retryable("not yet"))
        } else {
            Ok(())
        }
    };
    world.consume_until(&consumer, fails_once_more, done).await;
    assert_eq!(world.dead().await, 2);
}

/// What waits for its next attempt takes no place from what is new.
#[tokio::test(flavor = "multi_thread")]
async fn messages_that_wait_hold_up_no_others() {
    let mut world = World::new().await;
    world.stream = world.stream.prefetch(2);
    for number in 0..10 {
        world.publish(number).await;
    }
    let mut source: NatsSource = world.stream.open().await.unwrap();
    for _ in 0..10 {
        let delivery = timeout(VISIBILITY, source.next()).await.unwrap();
        let settle = delivery.unwrap().unwrap().settle;
        settle.retry(Duration::from_secs(60), true).await.unwrap();
    }
    assert_eq!(world.pending().await, 10);
}

/// M50: no more are unsettled than there are places for.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_has_no_more_than_its_prefetch() {
    let mut world = World::new().await;
    world.stream = world.stream.prefetch(2);
    for number in 0..3 {
        world.publish(number).await;
    }
    let mut source = world.stream.open().await.unwrap();
    let (one, _two) = (source.next().await.unwrap(), source.next().await.unwrap());
    assert!(timeout(VISIBILITY / 2, source.next()).await.is_err());
    one.unwrap().settle.ack().await.unwrap();
    assert!(source.next().await.unwrap().is_some());
}

/// M10.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_acknowledges_by_itself_is_refused() {
    for (policy, name) in [(AckPolicy::None, "none"), (AckPolicy::All, "all")] {
        let world = World::new().await;
        world
            .consumer_with(|config| config.ack_policy = policy)
            .await;
        let error = world.refused().await;
        let auto: &ConfigError = cause(&error);
        assert!(matches!(auto, ConfigError::AutoAck { .. }), "{auto:?}");
        assert!(auto.to_string().contains(&format!("`{name}`")), "{auto}");
    }
}

/// M51: where the server would give a message up, and tell nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_low_limit_of_deliveries_is_refused() {
    let world = World::new().await;
    world.consumer_with(|config| config.max_deliver = 5).await;
    let worker = world.consumer().leased(|_, _| async { Ok(()) });
    let source = world.stream.open().await.unwrap();
    let error = worker.run(source, pending()).await.unwrap_err();
    let RunError::Config(ConfigError::MaxDeliver { deliveries, .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(deliveries, 5);
}

/// M34, M43: what the server says of the consumer and of the stream, not what was asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_says_what_the_server_has_chosen() {
    let world = World::new().await;
    let month = Duration::from_secs(30 * 24 * 60 * 60);
    let stream = world.context.get_stream("orders").await.unwrap();
    let mut config = stream.cached_info().config.clone();
    config.max_age = month;
    world.context.update_stream(config).await.unwrap();
    let chosen = |config: &mut pull::Config| {
        (config.ack_wait, config.max_ack_pending) = (VISIBILITY * 2, 20);
    };
    world.consumer_with(chosen).await;
    let source = world.stream.open().await.unwrap();
    let found = source.capabilities();
    assert_eq!(
        (found.max_age, found.visibility),
        (Some(month), Some(VISIBILITY * 2))
    );
    assert_eq!((found.prefetch, found.max_deliver), (Some(20), None));
    let worker = world.consumer().leased(|_, _| async { Ok(()) });
    let error = worker.run(source, pending()).await.unwrap_err();
    let RunError::Config(ConfigError::Retention { .. }) = error else {
        panic!("{error:?}");
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_that_nobody_keeps_are_refused() {
    let mut world = World::new().await;
    world.stream = world.stream.dead_letters("nowhere");
    let error = world.refused().await;
    let lost: &NatsError = cause(&error);
    assert!(matches!(lost, NatsError::DeadLetters { .. }), "{lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_that_come_back_are_refused() {
    let mut world = World::new().await;
    world.stream = world.stream.dead_letters("orders.new.dead");
    let error = world.refused().await;
    let circle: &NatsError = cause(&error);
    assert!(matches!(circle, NatsError::Circle { .. }), "{circle:?}");
    let narrow = world.stream.clone().subject("orders.new.eu");
    drop(narrow.open().await.unwrap());
    // The consumer is there now, and leaves them out.
    world.stream.open().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_of_another_subject_is_refused() {
    let mut world = World::new().await;
    drop(world.stream.open().await.unwrap());
    world.stream = world.stream.subject("orders.new.us");
    let error = world.refused().await;
    let filter: &NatsError = cause(&error);
    assert!(matches!(filter, NatsError::Filter { .. }), "{filter:?}");
}

/// M38, M39: whatever the server forgets to say, it delivers again.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_loses_nothing_that_it_has_kept() {
    let mut world = World::new().await;
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
    world.server.kill().unwrap();
    assert!(world.effects.counts().len() < 50, "in the middle");
    sleep(Duration::from_millis(200)).await;
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

/// M3, M4: a message without an id has its position.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_an_id_has_its_position() {
    let mut world = World::new().await;
    let refused = world.stream.publish(&Message::new("tea")).await;
    assert!(matches!(refused, Err(NatsError::Subject { .. })));
    world.stream = world.stream.subject("orders.new.eu").double_ack(false);
    world.stream.publish(&Message::new("tea")).await.unwrap();
    let mut source = world.stream.open().await.unwrap();
    let delivery = source.next().await.unwrap().unwrap();
    let id = MessageId::Broker("orders/1".into());
    assert_eq!(delivery.message.id, Some(id));
    assert_eq!(&*delivery.message.body, b"tea");
    delivery.settle.ack().await.unwrap();
    while world.pending().await > 0 {
        sleep(Duration::from_millis(10)).await;
    }
}
