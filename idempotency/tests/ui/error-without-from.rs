//! The error type takes in what idempotency itself can report.

use idempotency::{Engine, MemoryStore, idempotent};

#[derive(Debug)]
struct Declined;

#[idempotent(key = id, engine = engine)]
async fn charge(engine: &Engine, id: u64) -> Result<u64, Declined> {
    Ok(id)
}

fn main() {
    let engine = Engine::new(MemoryStore::new());
    let _charged = charge(&engine, 1);
}
