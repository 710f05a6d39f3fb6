//! A function that cannot fail has no way to say that its key is in use.

use idempotency::{Engine, MemoryStore, idempotent};

#[idempotent(key = id, engine = engine)]
async fn charge(engine: &Engine, id: u64) -> u64 {
    id
}

#[idempotent(key = id, engine = engine)]
async fn refund(engine: &Engine, id: u64) {
    drop(id);
}

fn main() {
    let engine = Engine::new(MemoryStore::new());
    let _refunded = refund(&engine, 1);
}
