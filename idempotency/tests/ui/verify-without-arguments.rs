//! Whoever asks the outside world needs to know what for.

use idempotency::{Engine, Error, MemoryStore, idempotent};

#[idempotent(key = id, engine = engine, on_abandoned = verify(find_charge))]
async fn charge(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[idempotent(key = id, engine = engine, on_abandoned = verify)]
async fn refund(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {
    let engine = Engine::new(MemoryStore::new());
    let _charged = charge(&engine, 1);
}
