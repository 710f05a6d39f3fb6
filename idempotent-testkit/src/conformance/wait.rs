use std::time::Duration;

use idempotent_core::protocol::{Claim, ReleaseMode, Update};
use idempotent_core::{Ending, Key, Store, Watch};

use super::world::*;
use crate::harness::{Harness, Notifies};

/// A subscription, and the client that it is told through.
struct Waiter<S> {
    store: S,
    watch: Watch,
}

impl<S: Store> Waiter<S> {
    /// Subscribes, then claims with the waiter flag, as the engine does.
    async fn on<H: Harness<Store = S>>(world: &World<H>, key: &Key) -> Self {
        let store = world.store().clone();
        let watch = store.watch(key).await.unwrap();
        let claim = store.claim(key, &waiting(request())).await.unwrap();
        assert!(matches!(claim, Claim::Busy { .. }), "{claim:?}");
        Self { store, watch }
    }

    /// The client through which the attempt has to end for the waiter to be told.
    fn teller<'a, H: Harness<Store = S>>(&'a self, world: &'a World<H>) -> &'a S {
        match H::NOTIFIES {
            Notifies::AllClients => world.store(),
            Notifies::Nobody | Notifies::SameClient => &self.store,
        }
    }

    /// Waits to be told, if the store says that it tells.
    async fn told<H: Harness<Store = S>>(mut self) {
        match H::NOTIFIES {
            Notifies::AllClients | Notifies::SameClient => {
                tokio::time::timeout(PATIENCE, self.watch.changed())
                    .await
                    .expect("whoever waits is told");
            }
            Notifies::Nobody => {}
        }
    }
}

/// A notification that takes longer has been forgotten.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn a_completion_wakes_whoever_waits<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let (one, two) = (Waiter::on(world, &key).await, Waiter::on(world, &key).await);
    if H::NOTIFIES == Notifies::SameClient {
        drop(two);
        one.teller(world).complete(&key, &grant, &value("paid")).await.unwrap();
        one.told::<H>().await;
    } else {
        one.teller(world).complete(&key, &grant, &value("paid")).await.unwrap();
        one.told::<H>().await;
        two.told::<H>().await;
    }
    assert!(matches!(world.claim(&key, &request()).await, Claim::Done(_)));
}

/// The next one runs at once, not after the lease.
pub(super) async fn a_release_wakes_whoever_waits<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let waiter = Waiter::on(world, &key).await;
    let release = idempotent_core::protocol::Release::new(Ending::Error, ReleaseMode::Free);
    waiter.teller(world).release(&key, &grant.holder(), release).await.unwrap();
    waiter.told::<H>().await;
    assert_eq!(world.grant(&key, &request()).await.attempt, 2);
}

/// There is nothing to wait for in a doubt.
pub(super) async fn a_doubt_wakes_whoever_waits<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let waiter = Waiter::on(world, &key).await;
    let hold = idempotent_core::protocol::Release::new(Ending::Error, ReleaseMode::Hold);
    waiter.teller(world).release(&key, &grant.holder(), hold).await.unwrap();
    waiter.told::<H>().await;
    assert!(matches!(world.claim(&key, &request()).await, Claim::InDoubt(_)));
}

/// Those who waited for an owner that fell silent wait for its successor.
pub(super) async fn a_takeover_keeps_waiters_informed<H: Harness>(world: &World<H>) {
    let (key, mut first) = (key("order"), request());
    world.grant(&key, &first).await;
    let waiter = Waiter::on(world, &key).await;
    first.lease = H::SHORT;
    world.lapsed(&key, &first).await;
    let second = world.grant(&key, &request()).await;
    waiter.teller(world).complete(&key, &second, &value("paid")).await.unwrap();
    waiter.told::<H>().await;
}

/// The subscription is in force when `watch` returns: an end right after it is not missed.
pub(super) async fn nothing_is_missed_between_the_subscription_and_the_wait<H: Harness>(
    world: &World<H>,
) {
    for number in 0..8 {
        let key = key(&format!("order {number}"));
        let grant = world.grant(&key, &request()).await;
        let waiter = Waiter::on(world, &key).await;
        let teller = waiter.teller(world).clone();
        let (told, update) = tokio::join!(waiter.told::<H>(), async {
            teller.complete(&key, &grant, &value("paid")).await.unwrap()
        });
        assert_eq!((told, update), ((), Update::Applied));
    }
}

/// A waiter that gives up takes nothing along: neither the record nor the others' subscriptions.
pub(super) async fn a_waiter_that_gives_up_harms_nobody<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let waiter = Waiter::on(world, &key).await;
    let quitter = waiter.store.watch(&key).await.unwrap();
    drop(quitter);

    assert!(matches!(world.claim(&key, &request()).await, Claim::Busy { .. }));
    let completed = waiter.teller(world).complete(&key, &grant, &value("paid")).await.unwrap();
    assert_eq!(completed, Update::Applied);
    waiter.told::<H>().await;
}
