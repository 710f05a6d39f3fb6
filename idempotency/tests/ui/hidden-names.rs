//! The body cannot name what the expansion names.

use idempotency::{Engine, Error, idempotent};

#[idempotent(key = id, engine = engine)]
async fn charge(engine: &Engine, id: u64) -> Result<u64, Error> {
    let _attempt = __running.attempt();
    Ok(id)
}

fn main() {}
