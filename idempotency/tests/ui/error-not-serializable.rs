//! An error that is to be recorded must be serializable.

use idempotency::{Engine, Error, MemoryStore, idempotent};

#[derive(Debug)]
struct Declined;

impl From<Error> for Declined {
    fn from(_: Error) -> Self {
        Self
    }
}

#[idempotent(key = id, engine = engine, on_error = record)]
async fn charge(engine: &Engine, id: u64) -> Result<u64, Declined> {
    Ok(id)
}

// An error that is not recorded need not be.
#[idempotent(key = id, engine = engine, on_error = hold)]
async fn refund(engine: &Engine, id: u64) -> Result<u64, Declined> {
    Ok(id)
}

fn main() {
    let engine = Engine::new(MemoryStore::new());
    let _charged = charge(&engine, 1);
}
