//! Leaving an argument out of what is not looked at must be a mistake.

use idempotency::{Engine, Error, MemoryStore, idempotent};

#[idempotent(key = id, engine = engine, fingerprint = amount, skip(note))]
async fn charge(engine: &Engine, id: u64, amount: u64, note: &str) -> Result<u64, Error> {
    Ok(id)
}

fn main() {
    let engine = Engine::new(MemoryStore::new());
    let _charged = charge(&engine, 1, 2, "");
}
