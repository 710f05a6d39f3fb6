//! The harness that all tests of the suite itself share.

use std::time::Duration;

use idempotent_core::{Clock, MemoryStore, Timestamp};
use idempotent_testkit::Harness;

/// A memory store whose time is moved by hand.
pub(crate) struct Memory {
    pub(crate) store: MemoryStore,
    pub(crate) clock: Clock,
}

impl Harness for Memory {
    type Store = MemoryStore;

    const PRECISION: Duration = Duration::ZERO;

    async fn start() -> Self {
        let clock = Clock::manual();
        Self {
            store: MemoryStore::new().with_clock(clock.clone()),
            clock,
        }
    }

    async fn store(&self) -> MemoryStore {
        self.store.clone()
    }

    async fn pass(&self, duration: Duration) {
        self.clock.advance(duration);
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
