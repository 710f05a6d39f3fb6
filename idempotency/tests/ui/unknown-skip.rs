//! Only an argument can be skipped.

use idempotency::{Engine, Error, MemoryStore, idempotent};

#[idempotent(key = id, engine = engine, skip(pol))]
async fn charge(engine: &Engine, pool: &str, id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[idempotent(key = id, engine = engine, skip(database))]
async fn refund(engine: &Engine, pool: &str, id: u64) -> Result<u64, Error> {
    Ok(id)
}

// What is left out anyway may be named.
#[idempotent(key = id, engine = engine, skip(engine, pool))]
async fn cancel(engine: &Engine, pool: &str, id: u64) -> Result<u64, Error> {
    Ok(id + pool.len() as u64)
}

fn main() {
    let engine = Engine::new(MemoryStore::new());
    let _charged = charge(&engine, "", 1);
}
