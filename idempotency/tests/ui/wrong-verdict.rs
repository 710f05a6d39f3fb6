//! Whoever asks the outside world answers with a verdict about the operation's value.

use idempotency::{Engine, Error, MemoryStore, Verdict, idempotent};

#[idempotent(key = id, engine = engine, on_abandoned = verify(find_charge(id)))]
async fn charge(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(id)
}

async fn find_charge(_: u64) -> Verdict<String> {
    Verdict::NotExecuted
}

fn main() {
    let engine = Engine::new(MemoryStore::new());
    let _charged = charge(&engine, 1);
}
