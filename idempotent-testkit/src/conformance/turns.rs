use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use idempotent_core::protocol::{Claim, Release, ReleaseMode, Update};
use idempotent_core::{Ending, Fence, Key, Store};

use super::prelude::*;
use super::races::{TASKS, at_once};

/// P1 and P3: the owner comes back at the very moment at which others take over.
pub(super) async fn completions_racing_takeovers_have_one_winner<H: Harness>(world: &World<H>) {
    for round in 0..4 {
        let key = key(&format!("order {round}"));
        let late = world.lapsed(&key, &short::<H>()).await;
        let completed: Vec<bool> = at_once(world, |number, store| {
            let (key, late) = (key.clone(), late.clone());
            async move {
                let grant = if number % 2 == 0 {
                    late
                } else {
                    match store.claim(&key, &request()).await.unwrap() {
                        Claim::Granted(grant) => grant,
                        Claim::Busy { .. } | Claim::Done(_) => return false,
                        claim => panic!("{claim:?}"),
                    }
                };
                // The same result from whoever is first, so that the owner's tries are repetitions.
                let completion = value(grant.attempt.to_string());
                let update = store.complete(&key, &grant, &completion).await.unwrap();
                update == Update::Applied
            }
        })
        .await;
        assert_eq!(completed.into_iter().filter(|applied| *applied).count(), 1);
        let record = world.record(&key).await;
        assert_eq!(record.result, payload(record.attempt.to_string()));
    }
}

/// C3: claims and releases in turns. Never two owners at a time, and every grant is a new one.
pub(super) async fn claims_racing_releases_never_run_together<H: Harness>(world: &World<H>) {
    const ROUNDS: usize = 4;
    let key = key("order");
    let running = Arc::new(AtomicU32::new(0));
    let grants = at_once(world, |number, store| {
        let (key, running) = (key.clone(), Arc::clone(&running));
        async move {
            let mut grants = Vec::new();
            while grants.len() < ROUNDS {
                let Claim::Granted(grant) = store.claim(&key, &request()).await.unwrap() else {
                    tokio::task::yield_now().await;
                    continue;
                };
                assert_eq!(
                    running.fetch_add(1, Ordering::SeqCst),
                    0,
                    "two owners at a time"
                );
                tokio::task::yield_now().await;
                running.fetch_sub(1, Ordering::SeqCst);
                let ending = if number % 2 == 0 {
                    Ending::Error
                } else {
                    Ending::Clean
                };
                let release = Release::new(ending, ReleaseMode::Free);
                let update = store.release(&key, &grant.holder(), release).await.unwrap();
                assert_eq!(update, Update::Applied);
                grants.push((grant.fence, grant.attempt));
            }
            grants
        }
    })
    .await;

    let mut grants = grants.concat();
    grants.sort_unstable();
    assert!(
        grants.windows(2).all(|pair| pair[0].0 < pair[1].0),
        "a fence was given twice"
    );
    assert!(
        grants.is_sorted_by_key(|(_, attempt)| *attempt),
        "attempts go back: {grants:?}"
    );
    let record = world.record(&key).await;
    assert_eq!(record.failures as usize, TASKS / 2 * ROUNDS);
}

/// P1 to P8 at once: callers that fall silent, fail, or finish, and retry until they know.
pub(super) async fn callers_that_crash_and_retry_agree_on_one_value<H: Harness>(world: &World<H>) {
    let key = key("order");
    let store = world.store().clone();
    let answers = at_once(world, |number, store| {
        let key = key.clone();
        async move { persist::<H>(&store, &key, number).await }
    });
    // Leases run out only if somebody lets the time pass, but the result is kept throughout.
    let clock = async {
        for _ in 0..LONG.as_millis() / H::SHORT.as_millis() / 4 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            world.pass().await;
        }
    };
    let answers = tokio::select! {
        answers = answers => answers,
        () = clock => panic!("nobody can finish"),
    };

    let Claim::Done(recorded) = store.claim(&key, &request()).await.unwrap() else {
        panic!("somebody has finished");
    };
    let mut grants = BTreeMap::new();
    for (answer, granted) in answers {
        assert_eq!(
            answer, recorded.payload.bytes,
            "two callers were told different values"
        );
        for (fence, attempt) in granted {
            assert_eq!(
                grants.insert(fence, attempt),
                None,
                "a fence was given twice"
            );
        }
    }
    let attempts: Vec<_> = grants.into_values().collect();
    let expected: Vec<_> = (1..).take(attempts.len()).collect();
    assert_eq!(attempts, expected, "attempts do not follow the fences");
}

/// Calls until there is an answer. Returns it, and the grants on the way.
async fn persist<H: Harness>(
    store: &H::Store,
    key: &Key,
    caller: usize,
) -> (Bytes, Vec<(Fence, u32)>) {
    let mut grants = Vec::new();
    loop {
        let grant = match store.claim(key, &short::<H>()).await.unwrap() {
            Claim::Done(recorded) => return (recorded.payload.bytes, grants),
            Claim::Granted(grant) => grant,
            _ => {
                tokio::time::sleep(H::SHORT / 10).await;
                continue;
            }
        };
        grants.push((grant.fence, grant.attempt));
        match grant.attempt {
            // Falls silent.
            1 | 5 => continue,
            2 | 6 => {
                let release = Release::new(Ending::Error, ReleaseMode::Free);
                store.release(key, &grant.holder(), release).await.unwrap();
                continue;
            }
            3 | 7 => {
                store.renew(key, &grant, H::SHORT).await.unwrap();
                continue;
            }
            // Comes back when others have taken over.
            4 | 8..12 => tokio::time::sleep(H::SHORT * 4).await,
            _ => {}
        }
        let answer = Bytes::from(caller.to_string());
        let update = store
            .complete(key, &grant, &value(answer.clone()))
            .await
            .unwrap();
        if update == Update::Applied {
            return (answer, grants);
        }
        if let Some(recorded) = lost(update).recorded {
            return (recorded.payload.bytes, grants);
        }
    }
}
