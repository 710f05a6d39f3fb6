//! An argument without its value says what it needs.

use idempotency::{Engine, Error, MemoryStore, idempotent};

#[idempotent(key)]
async fn no_value(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[idempotent(key = id, ttl("1h"))]
async fn not_assigned(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[idempotent(key = id, skip = db)]
async fn not_a_list(engine: &Engine, db: &str, id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[idempotent(key = id engine = engine)]
async fn no_comma(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[idempotent(key = id, scope = SCOPE)]
async fn no_literal(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[idempotent(key = id, scope = "")]
async fn no_scope(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[idempotent(key = id, completer = "yes")]
async fn no_flag(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {
    let engine = Engine::new(MemoryStore::new());
    let _ = no_value(&engine, 1);
    let _ = not_assigned(&engine, 1);
    let _ = not_a_list(&engine, "", 1);
    let _ = no_comma(&engine, 1);
    let _ = no_literal(&engine, 1);
    let _ = no_scope(&engine, 1);
    let _ = no_flag(&engine, 1);
}
