//! A transaction needs a store that has them.

use idempotency::{Engine, Error, MemoryStore, idempotent};

#[idempotent(key = id, engine = engine, transaction(tx in store))]
async fn create(engine: &Engine, store: &MemoryStore, id: u64) -> Result<u64, Error> {
    let _ = tx;
    Ok(id)
}

fn main() {
    let store = MemoryStore::new();
    let engine = Engine::new(store.clone());
    let _created = create(&engine, &store, 1);
}
