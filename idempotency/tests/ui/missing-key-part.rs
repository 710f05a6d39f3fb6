//! A part of a key that may be missing would give one key to all calls that lack it.

use idempotency::{Engine, Error, MemoryStore, idempotent};

#[idempotent(key = "{tenant}:{id}", engine = engine)]
async fn charge(engine: &Engine, tenant: Option<u64>, id: u64) -> Result<u64, Error> {
    Ok(id)
}

// A whole key may be missing: the call then runs unprotected.
#[idempotent(key = id, engine = engine)]
async fn refund(engine: &Engine, id: Option<u64>) -> Result<(), Error> {
    Ok(())
}

fn main() {
    let engine = Engine::new(MemoryStore::new());
    let _charged = charge(&engine, None, 1);
}
