//! What the user named and does not use is reported, unlike what the expansion names.

#![deny(unused)]

use idempotency::{Engine, Error, idempotent};

#[idempotent(key = id, engine = engine, ctx = run)]
pub async fn charge(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
