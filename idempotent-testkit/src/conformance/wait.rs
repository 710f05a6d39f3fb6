use std::time::Duration;

use idempotent_core::protocol::{Claim, Release, ReleaseMode, Update};
use idempotent_core::{Ending, Key, Store, Watch};

use super::prelude::*;
use crate::harness::Notifies;

/// A notification that takes longer has been forgotten.
const PATIENCE: Duration = Duration::from_secs(10);

/// A subscription, and the client that it was made with.
struct Waiter<H: Harness> {
    store: H::Store,
    watch: Watch,
}

impl<H: Harness> Waiter<H> {
    /// Subscribes, then claims with the waiter flag, as the engine does.
    async fn on(world: &World<H>, key: &Key) -> Self {
        let store = world.store().clone();
        let watch = store.watch(key).await.unwrap();
        let claim = store.claim(key, &waiting(request())).await.unwrap();
        assert!(matches!(claim, Claim::Busy { .. }), "{claim:?}");
        Self { store, watch }
    }

    /// The client whose calls the store tells this waiter of.
    fn teller<'a>(&'a self, world: &'a World<H>) -> &'a H::Store {
        match H::NOTIFIES {
            Notifies::AllClients => world.store(),
            Notifies::Nobody | Notifies::SameClient => &self.store,
        }
    }

    /// Waits to be told, if the store says that it tells.
    async fn told(mut self) {
        match H::NOTIFIES {
            Notifies::AllClients | Notifies::SameClient => {
                let changed = tokio::time::timeout(PATIENCE, self.watch.changed()).await;
                assert!(changed.is_ok(), "whoever waits has to be told");
            }
            Notifies::Nobody => {}
        }
    }
}

pub(super) async fn a_completion_wakes_whoever_waits<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let waiter = Waiter::on(world, &key).await;
    let completed = waiter
        .teller(world)
        .complete(&key, &grant, &value("paid"))
        .await
        .unwrap();
    assert_eq!(completed, Update::Applied);
    waiter.told().await;
    assert!(matches!(
        world.claim(&key, &request()).await,
        Claim::Done(_)
    ));
}

/// One notification is enough for all.
pub(super) async fn all_who_wait_are_woken<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let one = Waiter::on(world, &key).await;
    let watch = one.store.watch(&key).await.unwrap();
    let two = Waiter::<H> {
        store: one.store.clone(),
        watch,
    };
    one.teller(world)
        .complete(&key, &grant, &value("paid"))
        .await
        .unwrap();
    one.told().await;
    two.told().await;
}

/// The next one runs at once, not after the lease.
pub(super) async fn a_release_wakes_whoever_waits<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let waiter = Waiter::on(world, &key).await;
    let release = Release::new(Ending::Error, ReleaseMode::Free);
    waiter
        .teller(world)
        .release(&key, &grant.holder(), release)
        .await
        .unwrap();
    waiter.told().await;
    assert_eq!(world.grant(&key, &request()).await.attempt, 2);
}

/// There is nothing to wait for in a doubt.
pub(super) async fn a_doubt_wakes_whoever_waits<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let waiter = Waiter::on(world, &key).await;
    let hold = Release::new(Ending::Error, ReleaseMode::Hold);
    waiter
        .teller(world)
        .release(&key, &grant.holder(), hold)
        .await
        .unwrap();
    waiter.told().await;
    assert!(matches!(
        world.claim(&key, &request()).await,
        Claim::InDoubt(_)
    ));
}

/// Those who waited for an owner that fell silent wait for its successor.
pub(super) async fn a_takeover_keeps_waiters_informed<H: Harness>(world: &World<H>) {
    let (key, mut first) = (key("order"), request());
    world.grant(&key, &first).await;
    let waiter = Waiter::on(world, &key).await;
    first.lease = H::SHORT;
    world.lapsed(&key, &first).await;
    let second = world.grant(&key, &request()).await;
    waiter
        .teller(world)
        .complete(&key, &second, &value("paid"))
        .await
        .unwrap();
    waiter.told().await;
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
        let (told, update) = tokio::join!(waiter.told(), async {
            teller.complete(&key, &grant, &value("paid")).await.unwrap()
        });
        assert_eq!((told, update), ((), Update::Applied));
    }
}

/// A waiter that gives up takes nothing along, neither the record nor another's subscription.
pub(super) async fn a_waiter_that_gives_up_harms_nobody<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let waiter = Waiter::on(world, &key).await;
    let quitter = waiter.store.watch(&key).await.unwrap();
    drop(quitter);

    assert!(matches!(
        world.claim(&key, &request()).await,
        Claim::Busy { .. }
    ));
    let completed = waiter
        .teller(world)
        .complete(&key, &grant, &value("paid"))
        .await
        .unwrap();
    assert_eq!(completed, Update::Applied);
    waiter.told().await;
}
