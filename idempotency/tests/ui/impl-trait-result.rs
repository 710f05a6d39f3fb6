//! A type without a name cannot be stored.

use idempotency::{Engine, Error, MemoryStore, idempotent};

#[idempotent(key = id, engine = engine)]
async fn charge(engine: &Engine, id: u64) -> Result<impl ToString, Error> {
    Ok(id)
}

fn main() {
    let engine = Engine::new(MemoryStore::new());
    let _charged = charge(&engine, 1);
}
