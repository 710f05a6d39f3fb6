//! Which messages are the same.

use std::sync::Arc;

use idempotent_consumer::{Consumer, Message, MessageId, MissingId, Outcome, RunError, TestBroker};
use idempotent_core::Fingerprint;

use crate::world::{Effects, World, dead, is_acked, message};

/// M1: two services that subscribe to one event.
#[tokio::test(start_paused = true)]
async fn two_consumers_with_scopes_of_their_own_both_handle_a_message() {
    let mut world = World::new();
    let delivery = world.delivery("1").await;
    for scope in ["billing.charge", "mail.thank"] {
        let consumer = Consumer::builder(world.engine.clone(), scope).build();
        let worker = world.counting(&consumer.unwrap());
        for _ in 0..2 {
            assert!(is_acked(&worker.process(&delivery).await));
        }
    }
    assert_eq!(world.effects.count(), 2);
}

/// M2: what is recorded is what was claimed.
#[tokio::test(start_paused = true)]
async fn the_id_is_found_once_whatever_the_handler_does_to_the_message() {
    let mut world = World::new();
    let asked = Effects::default();
    let asks = asked.clone();
    let consumer = world.builder().id(move |message: &Message| {
        asks.happen();
        message
            .header("order")
            .map(|id| MessageId::Producer(id.to_owned()))
    });
    let worker = consumer
        .build()
        .unwrap()
        .leased(async |mut message: Message, _| {
            message.headers.clear();
            Ok(message.body.len())
        });
    let order = message("unused").with_header("Order", "7");
    world.broker.publish(order);
    let delivery = world.next().await;
    assert!(matches!(
        worker.process(&delivery).await.outcome,
        Outcome::Executed(3)
    ));
    assert_eq!(asked.count(), 1);
    assert!(world.record("7").await.is_some());
    assert!(is_acked(&worker.process(&delivery).await));
}

/// M5: missing, empty, too long, or not a text for a key.
#[tokio::test(start_paused = true)]
async fn a_message_without_an_id_that_can_be_a_key_is_put_aside_unhandled() {
    let mut world = World::new();
    let worker = world.counting(&world.consumer());
    let long = "x".repeat(513);
    for id in [None, Some(""), Some(&*long), Some("a\nb")] {
        let mut message = Message::new("tea");
        message.id = id.map(|id| MessageId::Producer(id.to_owned()));
        world.broker.publish(message);
        let delivery = world.next().await;
        let processed = worker.process(&delivery).await;
        assert!(matches!(processed.outcome, Outcome::MissingId), "{id:?}");
        assert_eq!(dead(&processed), "missing_id");
    }
    assert_eq!(world.effects.count(), 0);
    let longest = world.delivery(&"x".repeat(512)).await;
    assert!(is_acked(&worker.process(&longest).await));
}

/// M5: somebody wants to know at once.
#[tokio::test(start_paused = true)]
async fn a_message_without_an_id_can_stop_the_consumer_and_stays_where_it_is() {
    let world = World::new();
    let consumer = world.builder().missing_id(MissingId::Error).build();
    let worker = world.counting(&consumer.unwrap());
    world.broker.publish(Message::new("tea"));
    let ended = worker
        .run(world.broker.source(), std::future::pending())
        .await;
    assert!(matches!(ended, Err(RunError::MissingId)));
    assert!(world.broker.dead_letters().is_empty());
    assert_eq!(world.effects.count(), 0);
    assert_eq!(world.broker.counts().acked, 0);
}

/// M5.
#[tokio::test(start_paused = true)]
async fn a_message_without_an_id_can_be_handled_each_time() {
    let mut world = World::new();
    let consumer = world
        .builder()
        .missing_id(MissingId::RunUnprotected)
        .build();
    let worker = world.counting(&consumer.unwrap());
    world.broker.publish(Message::new("tea"));
    let delivery = world.next().await;
    for _ in 0..2 {
        assert!(is_acked(&worker.process(&delivery).await));
    }
    assert_eq!(world.effects.count(), 2);
}

/// M6: a position says where a message is, and nothing can be at the same place.
#[tokio::test(start_paused = true)]
async fn a_position_of_the_brokers_is_not_compared() {
    let mut world = World::new();
    let worker = world.counting(&world.consumer());
    for body in ["tea", "coffee"] {
        let id = MessageId::Broker("orders/1".to_owned());
        world.broker.publish(Message::new(body).with_id(id));
        let delivery = world.next().await;
        assert!(is_acked(&worker.process(&delivery).await));
    }
    assert_eq!(world.effects.count(), 1);
}

/// M6: a part of the message, or nothing.
#[tokio::test(start_paused = true)]
async fn what_is_compared_can_be_chosen() {
    let by_length = |message: &Message| Ok(Fingerprint::of(&message.body.len())?);
    for (compares, other, is_same) in [
        (true, "pie", true),
        (true, "coffee", false),
        (false, "coffee", true),
    ] {
        let mut world = World::with(TestBroker::new());
        let builder = world.builder();
        let builder = if compares {
            builder.fingerprint(by_length)
        } else {
            builder.without_fingerprint()
        };
        let worker = world.counting(&builder.build().unwrap());
        for body in ["tea", other] {
            let id = MessageId::Producer("1".to_owned());
            world.broker.publish(Message::new(body).with_id(id));
        }
        let (first, second) = (world.next().await, world.next().await);
        worker.process(&first).await;
        let second = worker.process(&second).await;
        assert_eq!(
            matches!(second.outcome, Outcome::Duplicate(_)),
            is_same,
            "{other}"
        );
    }
}

/// M6: what cannot be compared cannot be handled.
#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_compared_is_put_aside() {
    let mut world = World::new();
    let consumer = world.builder().fingerprint(|_| Err("not an order".into()));
    let worker = world.counting(&consumer.build().unwrap());
    let delivery = world.delivery("1").await;
    assert_eq!(dead(&worker.process(&delivery).await), "permanent");
    assert_eq!((world.effects.count(), world.record("1").await), (0, None));
}

/// The id is a key for the handler's own calls, too.
#[tokio::test(start_paused = true)]
async fn a_key_for_another_service_is_the_same_at_each_attempt() {
    let mut world = World::new();
    let keys = Arc::<std::sync::Mutex<Vec<_>>>::default();
    let sink = Arc::clone(&keys);
    let worker = world
        .consumer()
        .leased(move |_, context: idempotent_consumer::Context| {
            let mut keys = sink.lock().unwrap();
            keys.push(context.attempt().key_for("charge"));
            let times = keys.len();
            async move {
                match times {
                    1 => Err(idempotent_consumer::HandlerError::retryable("again")),
                    _ => Ok(times),
                }
            }
        });
    let delivery = world.delivery("1").await;
    for _ in 0..2 {
        worker.process(&delivery).await;
    }
    let keys = keys.lock().unwrap();
    assert_eq!(keys[0], keys[1]);
}
