//! The memory store passes the suite.

#![expect(clippy::unwrap_used, reason = "a test, outside of its functions too")]

mod common;

use std::time::Duration;

use idempotent_core::protocol::ClaimRequest;
use idempotent_core::{
    Fingerprint, Inspect, Key, MemoryStore, Owner, Store, StoreError, Timestamp,
};
use idempotent_testkit::{Filling, Harness, full_tests, store_tests};

use self::common::Memory;

/// How many records there is room for.
const CAPACITY: usize = 8;

store_tests!(Memory);

full_tests!(Small);

/// A memory store that is soon full.
struct Small(Memory);

impl Harness for Small {
    type Store = MemoryStore;

    const PRECISION: Duration = Memory::PRECISION;

    async fn start() -> Self {
        let mut memory = Memory::start().await;
        memory.store = memory.store.with_capacity(CAPACITY);
        Self(memory)
    }

    async fn store(&self) -> MemoryStore {
        self.0.store().await
    }

    async fn pass(&self, duration: Duration) {
        self.0.pass(duration).await;
    }

    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

impl Filling for Small {
    async fn fill(&self) {
        for filler in fillers() {
            let owner = Owner::random().unwrap();
            let request = ClaimRequest::new(owner, Fingerprint::EMPTY, Self::SHORT, Self::SHORT);
            if let Err(error) = self.0.store.claim(&filler, &request).await {
                assert!(matches!(error, StoreError::Full(_)), "{error:?}");
                return;
            }
        }
        panic!("{CAPACITY} records are not the end");
    }

    async fn make_room(&self) {
        self.pass(Self::SHORT * 2).await;
        for filler in fillers() {
            self.0.store.delete(&filler).await.unwrap();
        }
    }
}

fn fillers() -> impl Iterator<Item = Key> {
    (0..=CAPACITY).map(|number| Key::new("filler", &number.to_string()).unwrap())
}
