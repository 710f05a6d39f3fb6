//! A detached body outlives its caller, so it cannot use what the caller lent it. rustc says which
//! argument that is.

use idempotency::{Engine, Error, MemoryStore, idempotent};

#[idempotent(key = id, engine = engine, on_cancel = detach)]
async fn charge(engine: &Engine, card: &String, id: u64) -> Result<usize, Error> {
    Ok(card.len())
}

// The engine is lent too, but the body does not use it.
#[idempotent(key = id, engine = engine, on_cancel = detach)]
async fn refund(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {
    let engine = Engine::new(MemoryStore::new());
    let card = String::new();
    let _charged = charge(&engine, &card, 1);
}
