//! A result is recorded, so it must be serializable.

use idempotency::{Engine, Error, MemoryStore, idempotent};

struct Receipt;

#[idempotent(key = id, engine = engine)]
async fn charge(engine: &Engine, id: u64) -> Result<Receipt, Error> {
    Ok(Receipt)
}

fn main() {
    let engine = Engine::new(MemoryStore::new());
    let _charged = charge(&engine, 1);
}
