//! A replay has nothing to borrow from. The message says so, rather than that `Deserialize` is not
//! general enough.

use idempotency::{Engine, Error, MemoryStore, idempotent};

#[idempotent(key = name, engine = engine)]
async fn greet<'a>(engine: &Engine, name: &'a str) -> Result<Option<&'a str>, Error> {
    Ok(Some(name))
}

fn main() {
    let engine = Engine::new(MemoryStore::new());
    let _greeting = greet(&engine, "Ada");
}
