//! A duration is a number and a unit, and not zero.

use std::time::Duration;

use idempotency::{Engine, Error, MemoryStore, idempotent};

#[idempotent(key = id, engine = engine, ttl = "24 hours", lease = "30")]
async fn unknown_unit(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[idempotent(key = id, engine = engine, ttl = 3600)]
async fn no_unit(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[idempotent(key = id, engine = engine, ttl = "0s", on_conflict = wait("0ms"))]
async fn zero(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[idempotent(key = id, engine = engine, ttl = "999999999999d")]
async fn too_long(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[idempotent(key = id, engine = engine, ttl = 3_600_u64 * 24)]
async fn not_a_duration(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

// An expression of the right type is accepted.
#[idempotent(key = id, engine = engine, ttl = Duration::from_secs(60) * 2, lease = LEASE)]
async fn valid(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

const LEASE: Duration = Duration::from_secs(5);

fn main() {
    let engine = Engine::new(MemoryStore::new());
    let _ = unknown_unit(&engine, 1);
}
