//! A key that is the same for every call would return the first customer's order to all others.

use idempotency::{Engine, Error, Key, MemoryStore, idempotent};

#[idempotent(key = "charge", engine = engine)]
async fn charge(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[idempotent(key = "{{id}}", engine = engine)]
async fn refund(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

// What the message proposes is accepted.
#[idempotent(key = Key::fixed("2026"), engine = engine)]
async fn migrate(engine: &Engine) -> Result<(), Error> {
    Ok(())
}

fn main() {
    let engine = Engine::new(MemoryStore::new());
    let _charged = charge(&engine, 1);
}
