//! What cannot be said of an operation in a transaction.

use idempotency::{Engine, Error, MemoryStore, idempotent};

#[idempotent(key = id, engine = engine, transaction = store)]
async fn no_parentheses(engine: &Engine, store: &MemoryStore, id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[idempotent(key = id, engine = engine, transaction(store))]
async fn no_name(engine: &Engine, store: &MemoryStore, id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[idempotent(
    key = id,
    engine = engine,
    transaction(id in store),
    lease = "10s",
    on_cancel = detach,
    on_error = hold,
    on_panic = release,
)]
async fn no_lease(engine: &Engine, store: &MemoryStore, id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
