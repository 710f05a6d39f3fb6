//! A syntax error in the body is reported there, and only there.

use idempotency::{Engine, Error, idempotent};

#[idempotent(key = id, engine = engine)]
async fn charge(engine: &Engine, id: u64) -> Result<u64, Error> {
    let charged = ;
    Ok(id)
}

fn main() {}
