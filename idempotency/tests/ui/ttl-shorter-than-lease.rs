//! A result that is forgotten before a slow run ends protects nobody.

use idempotency::{Engine, Error, MemoryStore, idempotent};

#[idempotent(key = id, engine = engine, ttl = "30s", lease = "1m")]
async fn charge(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {
    let engine = Engine::new(MemoryStore::new());
    let _charged = charge(&engine, 1);
}
