//! A policy that does not exist is named, with those that do.

use idempotency::{Engine, Error, MemoryStore, idempotent};

#[idempotent(
    key = id,
    engine = engine,
    on_conflict = wiat("10s"),
    on_error = relase,
    on_abandoned = doubt,
    on_cancel = "hold",
    on_panic = ignore,
    on_store_failure = run,
    on_unrecorded = return Ok(1),
)]
async fn charge(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[idempotent(key = id, engine = engine, on_conflict = wait)]
async fn refund(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[idempotent(key = id, engine = engine, fingerprint = None)]
async fn cancel(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {
    let engine = Engine::new(MemoryStore::new());
    let _charged = charge(&engine, 1);
}
