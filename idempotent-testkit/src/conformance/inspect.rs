use std::collections::BTreeSet;
use std::time::Duration;

use idempotent_core::protocol::{Completion, ReleaseMode};
use idempotent_core::{Deletion, Ending, Inspect, Key, Query, Record, State, Statistics, Store};

use super::prelude::*;

/// More pages than any list of a case has, empty ones included.
const MOST_PAGES: usize = 10_000;

/// The keys on all pages of a list.
async fn listed<H: Harness>(world: &World<H>, query: Query) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut pages = 0;
    let mut next = Some(query);
    while let Some(query) = next {
        let page = world.store().list(&query).await.unwrap();
        assert!(
            page.entries.len() <= query.limit || !H::SORTS,
            "the page is too long"
        );
        next = query.next(&page);
        pages += 1;
        assert!(pages <= MOST_PAGES, "the list does not end");
        keys.extend(page.entries.into_iter().map(|entry| entry.key));
    }
    if H::SORTS {
        assert!(
            keys.is_sorted_by(|one, next| one < next),
            "not in order: {keys:?}"
        );
    } else {
        keys.sort_unstable();
        keys.dedup();
    }
    keys
}

/// A key in each state, and one whose lease is over.
async fn one_of_each<H: Harness>(world: &World<H>) -> [(Key, Option<State>); 7] {
    let keys = [
        "completed",
        "failed",
        "in doubt",
        "lapsed",
        "running",
        "released",
        "expired",
    ]
    .map(key);
    let [completed, failed, doubt, lapsed, running, released, expired] = keys.clone();

    let grant = world.grant(&completed, &request()).await;
    world.finish(&completed, &grant, &value("paid")).await;
    let grant = world.grant(&failed, &request()).await;
    world.finish(&failed, &grant, &error("declined")).await;
    let grant = world.grant(&doubt, &request()).await;
    world
        .release(&doubt, grant.holder(), Ending::Panicked, ReleaseMode::Hold)
        .await;
    let grant = world.grant(&released, &request()).await;
    world.free(&released, &grant, Ending::Error).await;
    let grant = world.grant(&expired, &request()).await;
    world
        .finish(
            &expired,
            &grant,
            &Completion::value(payload("paid"), H::SHORT),
        )
        .await;
    world.grant(&running, &request()).await;
    world.grant(&lapsed, &short::<H>()).await;
    world.pass().await;

    let states = [
        Some(State::Completed),
        Some(State::Failed),
        Some(State::InDoubt),
        Some(State::InProgress),
        Some(State::InProgress),
        Some(State::Released),
        None,
    ];
    let mut pairs = keys.into_iter().zip(states);
    std::array::from_fn(|_| pairs.next().expect("as many states as keys"))
}

/// Every field that went in comes out.
pub(super) async fn a_record_comes_back_whole<H: Harness>(world: &World<H>) {
    let (key, request) = (key("order"), at_most_once(kept(request(), LONG * 2)));
    let first = world.grant(&key, &request).await;
    world.free(&key, &first, Ending::Error).await;
    let mut request = request;
    request.owner = owner();
    let grant = world.grant(&key, &request).await;
    world.step(&key, &grant, &step("charge", "ch_1")).await;
    lost(world.complete(&key, &first, &value("late")).await);
    world.claim(&key, &waiting(self::request())).await;
    world
        .release(&key, grant.holder(), Ending::Panicked, ReleaseMode::Note)
        .await;

    let mut expected = Record::new(request.owner, grant.fence, request.fingerprint);
    expected.attempt = 2;
    expected.failures = 1;
    expected.previous = Some(Ending::Error);
    expected.ending = Some(Ending::Panicked);
    expected.at_most_once = true;
    expected.started_at = first.started_at;
    expected.keep = LONG * 2;
    expected.expires_at = world.harness.now().plus(LONG * 3);
    expected.late = 1;
    expected.waiter = true;
    expected.steps = vec![step("charge", "ch_1")];
    world.unchanged(&key, &expected).await;

    world.finish(&key, &grant, &value("paid")).await;
    expected.state = State::Completed;
    expected.ending = None;
    expected.waiter = false;
    expected.steps.clear();
    expected.result = payload("paid");
    expected.completed_at = Some(world.harness.now());
    expected.expires_at = world.harness.now().plus(LONG);
    world.unchanged(&key, &expected).await;
}

pub(super) async fn every_state_can_be_looked_up<H: Harness>(world: &World<H>) {
    for (key, state) in one_of_each(world).await {
        let record = world.get(&key).await;
        assert_eq!(record.map(|record| record.state), state, "{key:?}");
    }
    assert_eq!(world.get(&key("absent")).await, None);
}

/// Records past their end are not listed, purged or not.
pub(super) async fn every_live_record_is_listed_once<H: Harness>(world: &World<H>) {
    let mut keys = one_of_each(world).await.to_vec();
    keys.retain(|(_, state)| state.is_some());
    let mut expected: Vec<_> = keys.into_iter().map(|(key, _)| key).collect();
    expected.sort_unstable();
    for limit in [1, 2, 3, 6, 100] {
        assert_eq!(
            listed(world, Query::all().with_limit(limit)).await,
            expected,
            "{limit}"
        );
    }
}

pub(super) async fn lists_are_filtered_by_state<H: Harness>(world: &World<H>) {
    let keys = one_of_each(world).await;
    for state in State::ALL {
        let matching = keys.iter().filter(|(_, other)| *other == Some(state));
        let expected: BTreeSet<_> = matching.map(|(key, _)| key.clone()).collect();
        let listed = listed(world, Query::all().with_state(state).with_limit(1)).await;
        assert!(expected.iter().eq(&listed), "{state:?}: {listed:?}");
    }
}

pub(super) async fn lists_are_filtered_by_scope<H: Harness>(world: &World<H>) {
    let scopes = [
        "charge",
        "charge.more",
        "charg",
        "c%rge",
        "c_arge",
        "c*rge",
        "Charge",
        "a/b",
    ];
    for scope in scopes {
        for value in ["1", "2"] {
            world
                .grant(&Key::new(scope, value).unwrap(), &request())
                .await;
        }
    }
    for scope in scopes {
        let expected = ["1", "2"].map(|value| Key::new(scope, value).unwrap());
        let query = Query::all().with_scope(scope);
        assert_eq!(listed(world, query.clone()).await, expected, "{scope}");
        assert_eq!(
            listed(world, query.with_limit(1)).await,
            expected,
            "{scope}"
        );
    }
    assert_eq!(listed(world, Query::all().with_scope("harge")).await, []);
}

/// By whether an operation has recorded something, and has not finished.
pub(super) async fn lists_are_filtered_by_steps<H: Harness>(world: &World<H>) {
    let keys = ["done", "lapsed", "none", "released"].map(key);
    let mut grants = Vec::new();
    for key in &keys {
        let grant = world.grant(key, &request()).await;
        if *key != keys[2] {
            world.step(key, &grant, &step("charge", "ch_1")).await;
        }
        grants.push(grant);
    }
    world.finish(&keys[0], &grants[0], &value("paid")).await;
    world.free(&keys[3], &grants[3], Ending::Error).await;
    let expected = [keys[1].clone(), keys[3].clone()];
    for limit in [1, 100] {
        let query = Query::all().with_steps().with_limit(limit);
        assert_eq!(listed(world, query).await, expected);
    }
    let released = Query::all().with_steps().with_state(State::Released);
    assert_eq!(listed(world, released).await, expected[1..]);
    let page = world
        .store()
        .list(&Query::all().with_steps())
        .await
        .unwrap();
    let known = page.entries.iter().map(|entry| entry.record.steps.len());
    assert!(known.eq([1, 1]), "the steps are in the list");
    let granted = page
        .entries
        .iter()
        .map(|entry| entry.record.fence.granted_at());
    assert!(
        granted.max() <= Some(page.now),
        "the list says when it was read"
    );
}

/// By the age of the attempt that runs, or ran last.
pub(super) async fn lists_are_filtered_by_age<H: Harness>(world: &World<H>) {
    let (old, new, retried) = (key("old"), key("new"), key("retried"));
    world.grant(&old, &request()).await;
    let first = world.grant(&retried, &request()).await;
    world.free(&retried, &first, Ending::Error).await;
    world.pass().await;
    world.pass().await;
    world.grant(&new, &request()).await;
    world.grant(&retried, &request()).await;

    let older_than = |age| listed(world, Query::all().older_than(age));
    assert_eq!(older_than(LONG).await, []);
    assert_eq!(older_than(H::SHORT * 3).await, [key("old")]);
    assert_eq!(older_than(Duration::ZERO).await, [new, old, retried]);
}

/// The next call of a deleted key runs as the first, with whatever arguments.
pub(super) async fn a_deleted_record_is_gone<H: Harness>(world: &World<H>) {
    for (key, state) in one_of_each(world).await {
        if key.value() == "running" {
            continue;
        }
        let expected = if state.is_some() {
            Deletion::Deleted
        } else {
            Deletion::Absent
        };
        assert_eq!(
            world.store().delete(&key).await.unwrap(),
            expected,
            "{key:?}"
        );
        assert_eq!(
            world.store().delete(&key).await.unwrap(),
            Deletion::Absent,
            "{key:?}"
        );
        assert_eq!(world.get(&key).await, None, "{key:?}");
        let grant = world.grant(&key, &other_arguments()).await;
        assert_eq!((grant.attempt, grant.steps.len()), (1, 0), "{key:?}");
    }
}

/// An operator's slip must not let a second attempt run beside the first.
pub(super) async fn a_held_record_is_not_deleted<H: Harness>(world: &World<H>) {
    let key = key("order");
    let grant = world.grant(&key, &request()).await;
    let before = world.record(&key).await;
    assert_eq!(
        world.store().delete(&key).await.unwrap(),
        Deletion::InProgress
    );
    world.unchanged(&key, &before).await;
    world.finish(&key, &grant, &value("paid")).await;
}

pub(super) async fn purging_removes_expired_records_alone<H: Harness>(world: &World<H>) {
    let keys = one_of_each(world).await;
    let mut before = Vec::new();
    for (key, _) in &keys {
        before.push(world.get(key).await);
    }
    while world.store().purge(1).await.unwrap().more {}

    assert_eq!(world.store().statistics().await.unwrap().expired, 0);
    for ((key, _), before) in keys.iter().zip(before) {
        match before {
            Some(before) => world.unchanged(key, &before).await,
            None => assert_eq!(world.get(key).await, None),
        }
    }
}

/// A server's other users wait while a batch is removed, so a batch is what was asked for at most.
pub(super) async fn purging_goes_by_batches<H: Harness>(world: &World<H>) {
    for number in 0..10 {
        let key = key(&format!("order {number}"));
        let grant = world.grant(&key, &request()).await;
        world
            .finish(&key, &grant, &Completion::value(payload("paid"), H::SHORT))
            .await;
    }
    world.pass().await;

    let expired = world.store().statistics().await.unwrap().expired;
    let mut purged = 0;
    loop {
        let batch = world.store().purge(3).await.unwrap();
        assert!(batch.records <= 3, "{batch:?}");
        purged += batch.records as u64;
        if !batch.more {
            break;
        }
    }
    // A store may have removed them by itself in the meantime.
    assert!(purged <= expired, "{purged} of {expired}");
    assert_eq!(
        world.store().statistics().await.unwrap(),
        Statistics::default()
    );
}

/// Whoever purges until there is no more, must not do so for ever.
pub(super) async fn purging_nothing_comes_to_an_end<H: Harness>(world: &World<H>) {
    one_of_each(world).await;
    let purged = world.store().purge(0).await.unwrap();
    assert_eq!((purged.records, purged.more), (0, false));
}

pub(super) async fn statistics_count_every_state<H: Harness>(world: &World<H>) {
    assert_eq!(
        world.store().statistics().await.unwrap(),
        Statistics::default()
    );
    one_of_each(world).await;

    let mut statistics = world.store().statistics().await.unwrap();
    assert!(
        statistics.expired <= 1,
        "one is expired, unless it has been purged"
    );
    statistics.expired = 0;
    let mut expected = Statistics::default();
    expected.completed = 1;
    expected.failed = 1;
    expected.in_doubt = 1;
    expected.in_progress = 2;
    expected.lapsed = 1;
    expected.released = 1;
    assert_eq!(statistics, expected);
}

/// Whoever holds a handle, sees what all others see.
pub(super) async fn all_clients_see_the_same_records<H: Harness>(world: &World<H>) {
    let key = key("order");
    world.grant(&key, &request()).await;
    let [one, two] = [world.store(), world.store()];
    assert_eq!(one.name(), two.name());
    assert!(!one.name().is_empty());
    for store in [one.clone(), two.clone(), world.harness.store().await] {
        let record = store.get(&key).await.unwrap();
        assert_eq!(record.map(|record| record.state), Some(State::InProgress));
    }
}
