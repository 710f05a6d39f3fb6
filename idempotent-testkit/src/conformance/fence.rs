use idempotent_core::{Ending, Fence};

use super::prelude::*;

/// C2 and P4.
pub(super) async fn fences_rise_with_every_grant<H: Harness>(world: &World<H>) {
    let key = key("order");
    let mut last = Fence::default();
    for ending in Ending::ALL.into_iter().cycle().take(20) {
        let grant = world.grant(&key, &request()).await;
        assert!(grant.fence > last, "{:?} after {last:?}", grant.fence);
        assert_eq!(world.record(&key).await.fence, grant.fence);
        last = grant.fence;
        world.free(&key, &grant, ending).await;
    }
    assert!(last.as_u64() < Fence::LIMIT);
}

/// C2 and P4.
pub(super) async fn fences_rise_over_an_expired_lease<H: Harness>(world: &World<H>) {
    let key = key("order");
    let first = world.lapsed(&key, &short::<H>()).await;
    let second = world.grant(&key, &request()).await;
    assert!(second.fence > first.fence);
}

/// C2 and P4: a counter would start again.
pub(super) async fn fences_rise_over_a_lost_record<H: Harness>(world: &World<H>) {
    let key = key("order");
    let mut last = Fence::default();
    for _ in 0..3 {
        let grant = world.lapsed(&key, &short::<H>()).await;
        assert!(grant.fence > last, "{:?} after {last:?}", grant.fence);
        last = grant.fence;
        world.lose(&key).await;
    }
}

/// C2 and P4: from one life of a key to the next.
pub(super) async fn fences_rise_over_an_expired_record<H: Harness>(world: &World<H>) {
    let key = key("order");
    let first = world.grant(&key, &request()).await;
    let mut completion = value("paid");
    completion.ttl = H::SHORT;
    world.finish(&key, &first, &completion).await;
    world.pass().await;
    let second = world.grant(&key, &request()).await;
    assert_eq!(second.attempt, 1);
    assert!(second.fence > first.fence);
}

/// C2: a downstream that knows microseconds can read the grant's time off its fence.
pub(super) async fn fences_are_near_the_stores_clock<H: Harness>(world: &World<H>) {
    let before = world.harness.now().minus(H::PRECISION);
    let grant = world.grant(&key("order"), &request()).await;
    let after = world.harness.now().plus(H::PRECISION);
    let granted_at = grant.fence.granted_at();
    assert!(
        before <= granted_at && granted_at <= after,
        "{granted_at:?}"
    );
}
