use idempotent_core::protocol::{Claim, StepReply, Update};
use idempotent_core::{Ending, Store, StoreError};

use super::prelude::*;
use crate::harness::Filling;

/// C13.
pub(super) async fn a_full_store_refuses_new_keys<H: Filling>(world: &World<H>) {
    world.harness.fill().await;
    let key = key("order");
    let error = world.store().claim(&key, &request()).await.unwrap_err();
    assert!(matches!(error, StoreError::Full(_)), "{error:?}");
    assert!(error.is_transient());
    assert_eq!(world.get(&key).await, None);

    world.harness.make_room().await;
    assert_eq!(world.grant(&key, &request()).await.attempt, 1);
}

/// C13: what has begun is kept and finished.
pub(super) async fn a_full_store_finishes_what_it_has_begun<H: Filling>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    world.harness.fill().await;

    assert_eq!(world.renew(&key, &grant, LONG).await, Update::Applied);
    assert_eq!(
        world.step(&key, &grant, &step("charge", "ch_1")).await,
        StepReply::Recorded
    );
    assert!(matches!(
        world.claim(&key, &request()).await,
        Claim::Busy { .. }
    ));
    world.finish(&key, &grant, &value("paid")).await;
    assert!(matches!(
        world.claim(&key, &request()).await,
        Claim::Done(_)
    ));
}

/// C13: and what has begun can be given up, and begun again.
pub(super) async fn a_full_store_releases_what_it_has_begun<H: Filling>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    world.harness.fill().await;
    world.free(&key, &grant, Ending::Error).await;
    world.harness.make_room().await;
    assert_eq!(world.grant(&key, &request()).await.attempt, 2);
}
