//! An argument is given once.

use idempotency::{Engine, Error, MemoryStore, idempotent};

#[idempotent(key = id, ttl = "1h", engine = engine, ttl = "2h")]
async fn charge(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[idempotent(key = id, engine = engine, skip(db, db))]
async fn refund(engine: &Engine, db: &str, id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {
    let engine = Engine::new(MemoryStore::new());
    let _charged = charge(&engine, 1);
}
