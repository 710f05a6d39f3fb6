//! The attempt would hide the argument from the body, but not from the key.

use idempotency::{Engine, Error, MemoryStore, idempotent};

#[idempotent(key = run, engine = engine, ctx = run)]
async fn charge(engine: &Engine, run: u64) -> Result<u64, Error> {
    Ok(run)
}

fn main() {
    let engine = Engine::new(MemoryStore::new());
    let _charged = charge(&engine, 1);
}
