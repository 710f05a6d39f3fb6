//! Each fault does to a call what it says.

use std::time::Duration;

use bytes::Bytes;
use idempotent_core::protocol::{
    Claim, ClaimRequest, Completion, Grant, Release, ReleaseMode, StepReply, Update,
};
use idempotent_core::{
    CodecId, Ending, Fingerprint, Inspect, Key, MemoryStore, Owner, Payload, State, Step, Store,
    StoreError,
};
use idempotent_testkit::faults::{Faults, Faulty, Op};
use idempotent_testkit::{Harness, store_tests};

mod common;

use self::common::Memory;

const MINUTE: Duration = Duration::from_secs(60);

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Without faults, a faulty store is the store itself.
struct Faultless(Memory);

impl Harness for Faultless {
    type Store = Faulty<MemoryStore>;

    const PRECISION: Duration = Memory::PRECISION;

    async fn start() -> Self {
        Self(Memory::start().await)
    }

    async fn store(&self) -> Faulty<MemoryStore> {
        Faults::new().wrap(self.0.store().await)
    }

    async fn pass(&self, duration: Duration) {
        self.0.pass(duration).await;
    }

    fn now(&self) -> idempotent_core::Timestamp {
        self.0.now()
    }
}

mod without_faults {
    use super::*;

    store_tests!(Faultless);
}

/// A faulty store, and a key that it has granted.
async fn granted() -> Result<(Faults, Faulty<MemoryStore>, Key, Grant)> {
    let faults = Faults::new();
    let store = faults.wrap(MemoryStore::new());
    let key = Key::new("charge", "order 7")?;
    let Claim::Granted(grant) = store.claim(&key, &request()?).await? else {
        return Err("not granted".into());
    };
    Ok((faults, store, key, grant))
}

fn request() -> Result<ClaimRequest> {
    Ok(ClaimRequest::new(
        Owner::random()?,
        Fingerprint::EMPTY,
        MINUTE,
        MINUTE,
    ))
}

fn paid() -> Completion {
    let bytes = Bytes::from_static(b"\"paid\"");
    Completion::value(
        Payload {
            codec: CodecId::JSON,
            bytes,
        },
        MINUTE,
    )
}

#[tokio::test]
async fn a_failed_call_changes_nothing() -> Result {
    let (faults, store, key, grant) = granted().await?;
    let before = store.get(&key).await?;
    faults.on_any().fail();

    let release = Release::new(Ending::Error, ReleaseMode::Free);
    let step = Step {
        name: "charge".to_owned(),
        value: Bytes::new(),
    };
    assert!(store.claim(&key, &request()?).await.is_err());
    assert!(store.complete(&key, &grant, &paid()).await.is_err());
    assert!(
        store
            .record_step(&key, &grant, &step, MINUTE * 2)
            .await
            .is_err()
    );
    assert!(store.release(&key, &grant.holder(), release).await.is_err());
    assert!(store.renew(&key, &grant, MINUTE * 2).await.is_err());
    assert!(store.watch(&key).await.is_err());
    assert_eq!(store.get(&key).await?, before);

    faults.clear();
    assert_eq!(
        store.complete(&key, &grant, &paid()).await?,
        Update::Applied
    );
    Ok(())
}

#[tokio::test]
async fn calls_are_counted_and_logged() -> Result {
    let (faults, store, key, grant) = granted().await?;
    faults.on(Op::Renew).fail();
    _ = store.renew(&key, &grant, MINUTE).await;
    _ = store.renew(&key, &grant, MINUTE).await;
    _ = store.complete(&key, &grant, &paid()).await;
    assert_eq!(faults.count(Op::Renew), 2);
    assert_eq!(
        faults.calls(),
        [Op::Claim, Op::Renew, Op::Renew, Op::Complete]
    );
    Ok(())
}

#[tokio::test]
async fn a_fault_befalls_the_chosen_calls_alone() -> Result {
    let (faults, store, key, grant) = granted().await?;
    faults.on(Op::Renew).nth(2).fail();
    let mut failed = Vec::new();
    for _ in 0..4 {
        failed.push(store.renew(&key, &grant, MINUTE).await.is_err());
    }
    assert_eq!(failed, [false, true, false, false]);

    faults.on(Op::Renew).first(2).fail();
    let mut failed = Vec::new();
    for _ in 0..4 {
        failed.push(store.renew(&key, &grant, MINUTE).await.is_err());
    }
    assert_eq!(
        failed,
        [true, true, false, false],
        "calls count from when the rule is made"
    );

    faults.on(Op::Renew).from(3).fail();
    let mut failed = Vec::new();
    for _ in 0..4 {
        failed.push(store.renew(&key, &grant, MINUTE).await.is_err());
    }
    assert_eq!(failed, [false, false, true, true]);
    Ok(())
}

#[tokio::test]
async fn the_error_can_be_chosen() -> Result {
    let (faults, store, key, grant) = granted().await?;
    faults
        .on(Op::Renew)
        .nth(1)
        .fail_with(|| StoreError::Corrupt("gone bad".into()));
    let error = store.renew(&key, &grant, MINUTE).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)));
    Ok(())
}

#[tokio::test]
async fn a_dropped_reply_leaves_the_change() -> Result {
    let (faults, store, key, grant) = granted().await?;
    faults.on(Op::Complete).nth(1).drop_reply();
    let error = store.complete(&key, &grant, &paid()).await.unwrap_err();
    assert!(error.is_transient());
    assert_eq!(
        store.complete(&key, &grant, &paid()).await?,
        Update::Repeated
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_delay_comes_before_the_change_or_after() -> Result {
    let (faults, store, key, grant) = granted().await?;
    let state = async || Ok::<_, StoreError>(store.get(&key).await?.map(|record| record.state));

    faults.on(Op::Release).nth(1).delay(MINUTE / 4);
    let holder = grant.holder();
    let release = Release::new(Ending::Error, ReleaseMode::Hold);
    let (update, seen) = tokio::join!(store.release(&key, &holder, release), async {
        tokio::time::sleep(MINUTE / 5).await;
        state().await
    });
    assert_eq!((update?, seen?), (Update::Applied, Some(State::InProgress)));

    faults.on(Op::Complete).nth(1).delay_reply(MINUTE / 4);
    let completion = paid();
    let (update, seen) = tokio::join!(store.complete(&key, &grant, &completion), async {
        tokio::time::sleep(MINUTE / 5).await;
        state().await
    });
    assert_eq!((update?, seen?), (Update::Applied, Some(State::Completed)));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_never_returns() -> Result {
    let (faults, store, key, grant) = granted().await?;
    faults.on(Op::Complete).nth(1).hang();
    faults.on(Op::Complete).nth(2).hang_reply();
    for state in [State::InProgress, State::Completed] {
        let completion = paid();
        let complete = store.complete(&key, &grant, &completion);
        assert!(tokio::time::timeout(MINUTE / 4, complete).await.is_err());
        assert_eq!(
            store.get(&key).await?.map(|record| record.state),
            Some(state)
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_call_waits_at_the_gate() -> Result {
    let (faults, store, key, grant) = granted().await?;
    let gate = faults.on(Op::Complete).nth(1).stop();
    let completed = tokio::spawn({
        let (store, key, grant) = (store.clone(), key.clone(), grant.clone());
        async move { store.complete(&key, &grant, &paid()).await }
    });
    gate.reached().await;
    assert_eq!(
        store.get(&key).await?.map(|record| record.state),
        Some(State::InProgress)
    );
    gate.open();
    assert_eq!(completed.await??, Update::Applied);
    Ok(())
}

#[tokio::test]
async fn a_reply_waits_at_the_gate() -> Result {
    let (faults, store, key, grant) = granted().await?;
    let gate = faults.on(Op::Complete).nth(1).stop_reply();
    let completion = paid();
    let complete = store.complete(&key, &grant, &completion);
    let (update, seen) = tokio::join!(complete, async {
        gate.reached().await;
        let seen = store.get(&key).await;
        gate.open();
        seen
    });
    assert_eq!(update?, Update::Applied);
    assert_eq!(seen?.map(|record| record.state), Some(State::Completed));
    Ok(())
}

#[tokio::test]
async fn a_lost_lease_is_anothers() -> Result {
    let (faults, store, key, grant) = granted().await?;
    faults.on(Op::Renew).nth(1).lose_lease();
    let Update::Lost(Some(found)) = store.renew(&key, &grant, MINUTE).await? else {
        panic!("not lost");
    };
    assert!(!found.same_owner);
    assert_eq!(found.state, State::InProgress);
    let record = store.get(&key).await?.ok_or("no record")?;
    assert_eq!(
        (record.attempt, record.previous),
        (2, Some(Ending::Expired))
    );
    Ok(())
}

#[tokio::test]
async fn a_lost_lease_may_have_been_completed() -> Result {
    let (faults, store, key, grant) = granted().await?;
    faults.on(Op::RecordStep).nth(1).lose_lease_to(paid());
    let step = Step {
        name: "charge".to_owned(),
        value: Bytes::new(),
    };
    let reply = store.record_step(&key, &grant, &step, MINUTE).await?;
    let StepReply::Lost(Some(found)) = reply else {
        panic!("not lost: {reply:?}")
    };
    assert_eq!(
        found.recorded.ok_or("not recorded")?.payload,
        paid().payload
    );
    Ok(())
}

#[tokio::test]
async fn a_lease_can_be_lost_as_soon_as_it_is_granted() -> Result {
    let faults = Faults::new();
    let store = faults.wrap(MemoryStore::new());
    faults.on(Op::Claim).nth(1).lose_lease();
    let key = Key::new("charge", "order 7")?;
    let Claim::Granted(grant) = store.claim(&key, &request()?).await? else {
        panic!()
    };
    assert_eq!(grant.attempt, 1);
    assert!(matches!(
        store.complete(&key, &grant, &paid()).await?,
        Update::Lost(Some(_))
    ));
    Ok(())
}

#[tokio::test]
async fn anything_else_can_happen_before_a_call() -> Result {
    let (faults, store, key, grant) = granted().await?;
    let inner = faults.clone();
    faults
        .on(Op::Renew)
        .run(move || inner.on(Op::Complete).nth(1).fail());
    store.renew(&key, &grant, MINUTE).await?;
    assert!(store.complete(&key, &grant, &paid()).await.is_err());
    Ok(())
}
