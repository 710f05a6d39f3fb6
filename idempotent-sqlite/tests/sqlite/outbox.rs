//! Messages that are sent because their transaction has committed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use idempotent_core::{Attempt, Lent, Message, Outbox, Relay, Relayed, Taken, TransactionalStore};
use idempotent_sqlite::{SqliteStore, SqliteTransaction};
use tokio::time::sleep;

use crate::transactions::{Failure, Shop};

const LEASE: Duration = Duration::from_millis(300);

/// What was sent, and how often.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<BTreeMap<String, usize>>>);

impl Sent {
    fn relay(
        &self,
        store: &SqliteStore,
    ) -> Relay<SqliteStore, impl Fn(Taken) -> std::future::Ready<Result<(), String>> + use<>> {
        let sent = self.clone();
        Relay::new(store.clone(), move |taken: Taken| {
            std::future::ready(if taken.message.topic == "fails" && taken.attempt == 1 {
                Err("as planned".to_owned())
            } else {
                *sent.0.lock().unwrap().entry(taken.message.id).or_default() += 1;
                Ok(())
            })
        })
        .lease(LEASE)
    }

    fn counts(&self) -> Vec<usize> {
        self.0.lock().unwrap().values().copied().collect()
    }
}

async fn stage(store: &SqliteStore, ids: impl IntoIterator<Item = (usize, &'static str)>) {
    let mut transaction = store.begin().await.unwrap();
    for (id, topic) in ids {
        let message = Message::new(id.to_string(), topic, "hello");
        store.stage(&mut transaction, &message).await.unwrap();
    }
    store.commit(transaction).await.unwrap();
}

/// S-19, M45.
#[tokio::test]
async fn a_message_is_sent_if_its_step_commits_and_not_otherwise() {
    let (shop, sent) = (&Shop::new(), Sent::default());
    for fails in [true, false] {
        let body = async |run: Attempt| {
            let message = Message::new(run.key_for("receipt"), "receipts", "1");
            let message = &message;
            let write = |mut tx: Lent<SqliteTransaction>| async move {
                shop.write(&tx, "1")?;
                shop.store.stage(&mut tx, message).await.unwrap();
                if fails {
                    Err(Failure::Declined)
                } else {
                    Ok(())
                }
            };
            run.tx_step("order", &shop.store, write).await
        };
        let answer = shop.operation("a").run_with(body).await;
        assert_eq!(answer.is_err(), fails);
        let relayed = sent.relay(&shop.store).drain().await.unwrap();
        assert_eq!((relayed.sent, relayed.failed), (usize::from(!fails), 0));
    }
    assert_eq!((shop.orders(), sent.counts()), (1, vec![1]));
}

/// S-19.
#[tokio::test]
async fn however_many_wait_all_are_sent_and_removed() {
    let (shop, sent) = (Shop::new(), Sent::default());
    stage(&shop.store, (0..250).map(|id| (id, "jobs"))).await;
    let relayed = sent.relay(&shop.store).drain().await.unwrap();
    assert_eq!((relayed.sent, relayed.failed), (250, 0));
    assert_eq!(sent.counts(), vec![1; 250]);
    assert_eq!(
        sent.relay(&shop.store).drain().await.unwrap(),
        Relayed::default()
    );
}

/// S-19: it does not hold up the others, and is tried again.
#[tokio::test]
async fn a_message_that_cannot_be_sent_is_put_back() {
    let (shop, sent) = (Shop::new(), Sent::default());
    stage(&shop.store, [(1, "fails"), (2, "jobs")]).await;
    let relay = sent.relay(&shop.store).batch(1);
    let relayed = relay.drain().await.unwrap();
    assert_eq!((relayed.sent, relayed.failed), (1, 1));
    sleep(Duration::from_millis(1_100)).await;
    assert_eq!(relay.drain().await.unwrap().sent, 1);
    assert_eq!(sent.counts(), [1, 1]);
}

/// S-19: what a relay that died had taken out is sent by another.
#[tokio::test]
async fn what_was_taken_out_and_not_removed_is_sent_again() {
    let (shop, sent) = (Shop::new(), Sent::default());
    stage(&shop.store, [(1, "jobs"), (2, "jobs")]).await;
    let taken = shop.store.take(10, LEASE).await.unwrap();
    assert_eq!((taken.len(), taken[0].attempt), (2, 1));
    shop.store.remove(&[taken[0].number]).await.unwrap();
    let relay = sent.relay(&shop.store);
    assert_eq!(relay.drain().await.unwrap().sent, 0, "somebody has it");
    sleep(LEASE).await;
    assert_eq!(
        relay.drain().await.unwrap().sent,
        1,
        "exactly what was not removed"
    );
}

/// S-19.
#[tokio::test(flavor = "multi_thread")]
async fn two_relays_share_what_there_is() {
    let (shop, sent) = (Shop::new(), Sent::default());
    let other = SqliteStore::open(shop.path()).unwrap();
    stage(&shop.store, (0..500).map(|id| (id, "jobs"))).await;
    let (one, two) = (
        sent.relay(&shop.store).batch(20),
        sent.relay(&other).batch(20),
    );
    let long = Duration::from_secs(60);
    let (one, two) = (one.lease(long), two.lease(long));
    let (one, two) = tokio::join!(one.drain(), two.drain());
    assert_eq!(one.unwrap().sent + two.unwrap().sent, 500);
    assert_eq!(sent.counts(), vec![1; 500]);
}

#[tokio::test]
async fn a_message_that_waits_already_is_an_error() {
    let shop = Shop::new();
    stage(&shop.store, [(1, "jobs")]).await;
    let mut transaction = shop.store.begin().await.unwrap();
    let again = Message::new("1", "jobs", "again");
    shop.store
        .stage(&mut transaction, &again)
        .await
        .unwrap_err();
}

#[tokio::test]
async fn a_spawned_relay_sends_what_comes() {
    let (shop, sent) = (Shop::new(), Sent::default());
    let relay = sent
        .relay(&shop.store)
        .interval(Duration::from_millis(10))
        .spawn();
    stage(&shop.store, [(1, "jobs")]).await;
    while sent.counts().is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
    relay.stop().await;
    assert_eq!(sent.counts(), [1]);
}
