//! Two amounts that look equal may be different floats.

use idempotency::{Engine, Error, MemoryStore, idempotent};

#[idempotent(key = amount, engine = engine)]
async fn charge(engine: &Engine, amount: f64) -> Result<(), Error> {
    Ok(())
}

#[idempotent(key = "{id}:{amount}", engine = engine)]
async fn refund(engine: &Engine, id: u64, amount: f64) -> Result<(), Error> {
    Ok(())
}

#[idempotent(key = (id, amount), engine = engine)]
async fn cancel(engine: &Engine, id: u64, amount: f64) -> Result<(), Error> {
    Ok(())
}

fn main() {
    let engine = Engine::new(MemoryStore::new());
    let _charged = charge(&engine, 1.0);
}
