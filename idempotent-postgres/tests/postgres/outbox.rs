//! Messages that are sent because their transaction has committed, with both drivers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use idempotent_core::{
    Attempt, Lent, Message, Outbox, Relay, Relayed, StoreError, Taken, TransactionalStore,
};
use tokio::time::sleep;

use crate::transactions::{Driver, Failure, Shop, with_both_drivers};

/// What was sent, and how often.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<BTreeMap<String, usize>>>);

impl Sent {
    async fn drain<S: Clone + Outbox>(
        &self,
        store: &S,
        batch: usize,
    ) -> Result<Relayed, StoreError> {
        let relay = Relay::new(store.clone(), async |taken: Taken| {
            tokio::task::yield_now().await;
            if taken.message.topic == "fails" && taken.attempt == 1 {
                return Err("as planned");
            }
            *self.0.lock().unwrap().entry(taken.message.id).or_default() += 1;
            Ok(())
        });
        relay.batch(batch).drain().await
    }

    fn counts(&self) -> Vec<usize> {
        self.0.lock().unwrap().values().copied().collect()
    }
}

async fn staged<S: Outbox>(
    store: &S,
    ids: impl IntoIterator<Item = (usize, &'static str)>,
) -> S::Transaction {
    let mut transaction = store.begin().await.unwrap();
    for (id, topic) in ids {
        let message = Message::new(id.to_string(), topic, "hello");
        store.stage(&mut transaction, &message).await.unwrap();
    }
    transaction
}

/// S-19, M45.
async fn a_message_is_sent_if_its_step_commits_and_not_otherwise<D: Driver>()
where
    D::Transactions: Outbox,
{
    let (shop, sent) = (&Shop::<D>::new().await, Sent::default());
    for fails in [true, false] {
        let body = async |run: Attempt| {
            let message = &Message::new(run.key_for("receipt"), "receipts", "1");
            let write = |mut tx: Lent<D::Transaction>| async move {
                shop.write(&mut tx, "1").await?;
                shop.transactions.stage(&mut tx, message).await.unwrap();
                if fails {
                    Err(Failure::Declined)
                } else {
                    Ok(())
                }
            };
            run.tx_step("order", &shop.transactions, write).await
        };
        let answer = shop.operation("a").run_with(body).await;
        assert_eq!(answer.is_err(), fails);
        let relayed = sent.drain(&shop.transactions, 100).await.unwrap();
        assert_eq!((relayed.sent, relayed.failed), (usize::from(!fails), 0));
    }
    assert_eq!((shop.orders().await, sent.counts()), (1, vec![1]));
}

/// S-19.
async fn however_many_wait_all_are_sent_by_two_relays_once<D: Driver>()
where
    D::Transactions: Outbox,
{
    let (shop, sent) = (Shop::<D>::new().await, Sent::default());
    let other = shop.other(|engine| engine).await;
    let transaction = staged(&shop.transactions, (0..250).map(|id| (id, "jobs"))).await;
    shop.transactions.commit(transaction).await.unwrap();
    let (one, two) = tokio::join!(
        sent.drain(&shop.transactions, 20),
        sent.drain(&other.transactions, 20),
    );
    assert_eq!(one.unwrap().sent + two.unwrap().sent, 250);
    assert_eq!(sent.counts(), vec![1; 250]);
    let nothing = sent.drain(&shop.transactions, 20).await.unwrap();
    assert_eq!(nothing, Relayed::default());
}

/// S-19: lower numbers that commit later are not lost.
async fn a_message_that_is_committed_late_is_sent_all_the_same<D: Driver>()
where
    D::Transactions: Outbox,
{
    let (shop, sent) = (Shop::<D>::new().await, Sent::default());
    let early = staged(&shop.transactions, [(1, "jobs")]).await;
    let late = staged(&shop.transactions, [(2, "jobs")]).await;
    shop.transactions.commit(late).await.unwrap();
    assert_eq!(sent.drain(&shop.transactions, 20).await.unwrap().sent, 1);
    shop.transactions.commit(early).await.unwrap();
    assert_eq!(sent.drain(&shop.transactions, 20).await.unwrap().sent, 1);
    assert_eq!(sent.counts(), [1, 1]);
}

/// S-19: it does not hold up the others, and is tried again; so is what somebody took and did not remove.
async fn a_message_that_could_not_be_sent_is_put_back<D: Driver>()
where
    D::Transactions: Outbox,
{
    let (shop, sent) = (Shop::<D>::new().await, Sent::default());
    let transaction = staged(&shop.transactions, [(1, "fails"), (2, "jobs")]).await;
    shop.transactions.commit(transaction).await.unwrap();
    let relayed = sent.drain(&shop.transactions, 1).await.unwrap();
    assert_eq!((relayed.sent, relayed.failed), (1, 1));
    sleep(Duration::from_millis(1_100)).await;
    let lease = Duration::from_millis(200);
    let taken = shop.transactions.take(10, lease).await.unwrap();
    assert_eq!((taken.len(), taken[0].attempt), (1, 2));
    assert_eq!(
        sent.drain(&shop.transactions, 1).await.unwrap().sent,
        0,
        "somebody has it"
    );
    sleep(lease).await;
    assert_eq!(sent.drain(&shop.transactions, 1).await.unwrap().sent, 1);
}

with_both_drivers! {
    a_message_is_sent_if_its_step_commits_and_not_otherwise,
    however_many_wait_all_are_sent_by_two_relays_once,
    a_message_that_is_committed_late_is_sent_all_the_same,
    a_message_that_could_not_be_sent_is_put_back,
}
