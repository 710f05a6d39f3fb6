//! A wrong return value is reported where it stands, once.

use idempotency::{Engine, Error, idempotent};

#[idempotent(key = id, engine = engine)]
async fn charge(engine: &Engine, id: u64) -> Result<u64, Error> {
    if id == 0 {
        return Ok("zero");
    }
    Ok(Some(id))
}

fn main() {}
