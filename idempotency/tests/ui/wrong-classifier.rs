//! A function that decides about errors must take the operation's.

use idempotency::{Engine, Error, MemoryStore, OnError, idempotent};

#[idempotent(key = id, engine = engine, on_error = classify)]
async fn charge(engine: &Engine, id: u64) -> Result<u64, Declined> {
    Ok(id)
}

fn classify(_: &u64) -> OnError {
    OnError::Release
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Declined;

impl From<Error> for Declined {
    fn from(_: Error) -> Self {
        Self
    }
}

fn main() {
    let engine = Engine::new(MemoryStore::new());
    let _charged = charge(&engine, 1);
}
