//! A template names values, and keeps them apart.

use idempotency::{Engine, Error, MemoryStore, idempotent};

#[idempotent(key = "{id}{line}", engine = engine)]
async fn nothing_between(engine: &Engine, id: u64, line: u64) -> Result<u64, Error> {
    Ok(id + line)
}

#[idempotent(key = "order:{}", engine = engine)]
async fn no_name(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[idempotent(key = "order:{id:08}", engine = engine)]
async fn a_format(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[idempotent(key = "order:{id", engine = engine)]
async fn not_closed(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[idempotent(key = "order:id}", engine = engine)]
async fn not_opened(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {
    let engine = Engine::new(MemoryStore::new());
    let _ = nothing_between(&engine, 1, 2);
}
