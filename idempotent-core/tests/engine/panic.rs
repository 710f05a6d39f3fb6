use std::sync::Arc;

use idempotent_core::{Ending, Error, OnConflict, OnPanic, State};
use tokio::time::advance;

use crate::world::{LEASE, World};

async fn panicking(world: &Arc<World>, on_panic: OnPanic) {
    let world = Arc::clone(world);
    let task = tokio::spawn(async move {
        let body = async {
            world.effects.happen();
            tokio::task::yield_now().await;
            panic!("in the body")
        };
        world
            .operation()
            .on_panic(on_panic)
            .run::<Result<u32, Error>>(body)
            .await
    });
    let panic = task.await.unwrap_err().into_panic();
    assert_eq!(
        panic.downcast_ref::<&str>(),
        Some(&"in the body"),
        "it goes on as it was"
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_leaves_the_key_claimed_until_the_lease_is_over_and_says_why() {
    let world = Arc::new(World::new());
    panicking(&world, OnPanic::Hold).await;
    let record = world.record().await.unwrap();
    assert_eq!(
        (record.state, record.ending),
        (State::InProgress, Some(Ending::Panicked))
    );
    let operation = world.operation().on_conflict(OnConflict::Fail);
    let early = operation.run(async { Ok::<u32, Error>(0) }).await;
    assert!(matches!(early, Err(Error::InProgress { .. })), "{early:?}");
    advance(LEASE).await;
    let previous = world
        .operation()
        .run_with(async |attempt| Ok::<_, Error>(attempt.previous() == Some(Ending::Panicked)));
    assert!(previous.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn on_panic_release_frees_the_key_at_once() {
    let world = Arc::new(World::new());
    panicking(&world, OnPanic::Release).await;
    assert_eq!(world.record().await.unwrap().state, State::Released);
    assert_eq!(world.call().await.unwrap(), 2);
}
