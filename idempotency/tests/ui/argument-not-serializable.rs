//! An argument that cannot be part of the fingerprint is reported where it stands, and the help says
//! how to leave it out.

use idempotency::{Engine, Error, MemoryStore, idempotent};

struct Db;

#[idempotent(key = id, engine = engine)]
async fn charge(engine: &Engine, db: &Db, id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {
    let engine = Engine::new(MemoryStore::new());
    let _charged = charge(&engine, &Db, 1);
}
