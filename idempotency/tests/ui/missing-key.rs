//! There is no call to recognise without a key.

use idempotency::{Engine, Error, MemoryStore, idempotent};

#[idempotent(engine = engine)]
async fn charge(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[idempotent]
async fn refund(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {
    let engine = Engine::new(MemoryStore::new());
    let _charged = charge(&engine, 1);
    let _refunded = refund(1);
}
