use idempotent_core::protocol::{Release, ReleaseMode};
use idempotent_core::{Ending, Inspect, Key, Store, StoreError};

use super::prelude::*;
use crate::harness::{Damage, Damaging};

/// Tries everything that could overwrite what stands under `key`.
async fn refused<H: Damaging>(world: &World<H>, key: &Key) -> Vec<StoreError> {
    let intact = self::key("intact");
    let grant = world.grant(&intact, &request()).await;
    let release = Release::new(Ending::Error, ReleaseMode::Free);
    let store = world.store();
    vec![
        store.claim(key, &request()).await.unwrap_err(),
        store
            .claim(key, &waiting(other_arguments()))
            .await
            .unwrap_err(),
        store.renew(key, &grant, LONG).await.unwrap_err(),
        store
            .record_step(key, &grant, &step("charge", "ch_1"), LONG)
            .await
            .unwrap_err(),
        store
            .complete(key, &grant, &value("paid"))
            .await
            .unwrap_err(),
        store
            .release(key, &grant.holder(), release)
            .await
            .unwrap_err(),
        store.get(key).await.unwrap_err(),
    ]
}

/// C1g: refused by every call, and never overwritten.
pub(super) async fn foreign_data_is_corrupt<H: Damaging>(world: &World<H>) {
    let key = key("order");
    world.harness.damage(&key, Damage::Foreign).await;
    let before = world.harness.raw(&key).await;
    for error in refused(world, &key).await {
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
        assert!(!error.is_transient());
    }
    assert_eq!(world.harness.raw(&key).await, before);
}

/// C1g: an older program leaves a newer one's records alone.
pub(super) async fn a_newer_format_is_incompatible<H: Damaging>(world: &World<H>) {
    let key = key("order");
    world.harness.damage(&key, Damage::Newer).await;
    let before = world.harness.raw(&key).await;
    for error in refused(world, &key).await {
        assert!(
            matches!(error, StoreError::Incompatible { .. }),
            "{error:?}"
        );
        assert!(!error.is_transient());
    }
    assert_eq!(world.harness.raw(&key).await, before);
}

/// One damaged record is no reason to refuse the others.
pub(super) async fn damage_stays_where_it_is<H: Damaging>(world: &World<H>) {
    world.harness.damage(&key("foreign"), Damage::Foreign).await;
    world.harness.damage(&key("newer"), Damage::Newer).await;
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    world.finish(&key, &grant, &value("paid")).await;
}
