use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use idempotent_core::protocol::{
    Claim, ClaimRequest, Completion, Grant, ReleaseMode, StepReply, Update,
};
use idempotent_core::{Ending, InspectExt, Key, Resolution, Store};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::prelude::*;

pub(super) const TASKS: usize = 64;

/// Runs `task` 64 times at once, on both clients. A task is told its number.
pub(super) async fn at_once<H, T, F>(
    world: &World<H>,
    task: impl Fn(usize, H::Store) -> F,
) -> Vec<T>
where
    H: Harness,
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let start = Arc::new(Barrier::new(TASKS));
    let mut tasks = JoinSet::new();
    for number in 0..TASKS {
        let (start, task) = (Arc::clone(&start), task(number, world.store().clone()));
        tasks.spawn(async move {
            start.wait().await;
            task.await
        });
    }
    tasks.join_all().await
}

/// 64 calls claim `key` at once, for so long.
async fn claims<H: Harness>(
    world: &World<H>,
    key: &Key,
    request: fn() -> ClaimRequest,
) -> Vec<Claim> {
    at_once(world, |_, store| {
        let key = key.clone();
        async move { store.claim(&key, &request()).await.unwrap() }
    })
    .await
}

#[track_caller]
fn only_winner(claims: Vec<Claim>) -> Grant {
    let mut winners = Vec::new();
    for claim in claims {
        match claim {
            Claim::Granted(grant) => winners.push(grant),
            Claim::Busy { attempt, .. } => assert!(attempt > 0),
            claim => panic!("neither granted nor busy: {claim:?}"),
        }
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    winners.remove(0)
}

/// C1 and P1.
pub(super) async fn concurrent_claims_have_one_winner<H: Harness>(world: &World<H>) {
    for round in 0..4 {
        let key = key(&format!("order {round}"));
        let grant = only_winner(claims(world, &key, request).await);
        assert_eq!(grant.attempt, 1);
        world.finish(&key, &grant, &value("paid")).await;
    }
}

/// C1f.
pub(super) async fn concurrent_takeovers_have_one_winner<H: Harness>(world: &World<H>) {
    let lapsed = key("lapsed");
    let late = world.lapsed(&lapsed, &short::<H>()).await;
    let winner = only_winner(claims(world, &lapsed, request).await);
    assert_eq!(
        (winner.attempt, winner.previous),
        (2, Some(Ending::Expired))
    );
    assert!(winner.fence > late.fence);
    lost(world.complete(&lapsed, &late, &value("late")).await);
    world.finish(&lapsed, &winner, &value("paid")).await;
}

/// C1f.
pub(super) async fn concurrent_claims_of_a_tombstone_have_one_winner<H: Harness>(world: &World<H>) {
    for (attempt, ending) in [(2, Ending::Error), (1, Ending::Clean)] {
        let key = key(&format!("{ending:?}"));
        let first = world.grant(&key, &request()).await;
        world.free(&key, &first, ending).await;
        let winner = only_winner(claims(world, &key, request).await);
        assert_eq!(winner.attempt, attempt, "{ending:?}");
        world.finish(&key, &winner, &value("paid")).await;
    }
}

/// C12: the first claims of a key's next life.
pub(super) async fn concurrent_claims_of_an_expired_record_have_one_winner<H: Harness>(
    world: &World<H>,
) {
    let key = key("order");
    let first = world.grant(&key, &request()).await;
    world
        .finish(&key, &first, &Completion::value(payload("paid"), H::SHORT))
        .await;
    world.pass().await;
    let winner = only_winner(claims(world, &key, request).await);
    assert_eq!(winner.attempt, 1);
}

/// C1f: nobody runs, and all are told so.
pub(super) async fn concurrent_claims_of_a_silent_key_leave_one_doubt<H: Harness>(
    world: &World<H>,
) {
    let key = key("order");
    let silent = world.lapsed(&key, &at_most_once(short::<H>())).await;
    for claim in claims(world, &key, request).await {
        let Claim::InDoubt(doubt) = claim else {
            panic!("not in doubt: {claim:?}")
        };
        assert_eq!(doubt.grant.holder(), silent.holder());
    }
}

/// C1c: one call's tries, however many of them arrive at once, are one claim.
pub(super) async fn concurrent_claims_of_one_owner_get_one_grant<H: Harness>(world: &World<H>) {
    let (key, request) = (key("order"), request());
    let grants = at_once(world, |_, store| {
        let (key, request) = (key.clone(), request.clone());
        async move { store.claim(&key, &request).await.unwrap() }
    })
    .await;
    let grant = world.grant(&key, &request).await;
    for claim in grants {
        assert_eq!(claim, Claim::Granted(grant.clone()));
    }
}

/// P1 and P2: many results of one owner, as a retried completion after a lost doubt.
pub(super) async fn concurrent_completions_have_one_winner<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let updates = at_once(world, |number, store| {
        let (key, grant) = (key.clone(), grant.clone());
        async move {
            store
                .complete(&key, &grant, &value(number.to_string()))
                .await
                .unwrap()
        }
    })
    .await;

    let result = world.record(&key).await.result;
    let mut applied = 0;
    for update in updates {
        match update {
            Update::Applied => applied += 1,
            update => assert_eq!(lost(update).recorded.unwrap().payload, result),
        }
    }
    assert_eq!(applied, 1);
    assert_eq!(world.record(&key).await.late as usize, TASKS - 1);
}

/// C9.
pub(super) async fn concurrent_steps_have_one_value<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let replies = at_once(world, |number, store| {
        let (key, grant) = (key.clone(), grant.clone());
        async move {
            let step = step("charge", number.to_string());
            store.record_step(&key, &grant, &step, LONG).await.unwrap()
        }
    })
    .await;

    let steps = world.record(&key).await.steps;
    let [step] = steps.as_slice() else {
        panic!("not one step: {steps:?}")
    };
    let known = replies
        .iter()
        .filter(|reply| **reply == StepReply::Known(step.value.clone()));
    assert_eq!(known.count(), TASKS - 1);
    let recorded = replies
        .iter()
        .filter(|reply| **reply == StepReply::Recorded);
    assert_eq!(recorded.count(), 1);
}

/// C9: steps of different names do not push each other out.
pub(super) async fn concurrent_steps_are_all_kept<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let replies = at_once(world, |number, store| {
        let (key, grant) = (key.clone(), grant.clone());
        async move {
            let step = step(&format!("step {number}"), number.to_string());
            store.record_step(&key, &grant, &step, LONG).await.unwrap()
        }
    })
    .await;
    assert!(replies.iter().all(|reply| *reply == StepReply::Recorded));
    let kept: BTreeMap<String, Bytes> = world
        .record(&key)
        .await
        .steps
        .into_iter()
        .map(|step| (step.name, step.value))
        .collect();
    let expected = (0..TASKS).map(|n| (format!("step {n}"), Bytes::from(n.to_string())));
    assert_eq!(kept, expected.collect());
}

/// Of people who resolve a doubt at once, one succeeds.
pub(super) async fn concurrent_resolutions_have_one_winner<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    world
        .release(&key, grant.holder(), Ending::Panicked, ReleaseMode::Hold)
        .await;
    let resolved = at_once(world, |number, store| {
        let key = key.clone();
        async move {
            let value = payload(number.to_string());
            let resolution = Resolution::Completed(value.clone(), LONG);
            store.resolve(&key, resolution).await.ok().map(|()| value)
        }
    })
    .await;
    let winners: Vec<_> = resolved.into_iter().flatten().collect();
    assert_eq!(winners, [world.record(&key).await.result]);
}
