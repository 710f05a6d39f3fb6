//! A step in a transaction needs a store that has them.

use idempotency::{Attempt, Error, MemoryStore};

async fn book(run: Attempt, store: &MemoryStore) -> Result<(), Error> {
    run.tx_step("book", store, |_| async { Ok(()) }).await
}

fn main() {}
