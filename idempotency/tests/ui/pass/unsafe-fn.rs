//! An `unsafe` function stays one: it is called as one, and its body is checked as one.

#![deny(unsafe_op_in_unsafe_fn, unused_unsafe)]

use idempotency::{Engine, Error, idempotent};

#[idempotent(key = id, engine = engine)]
async unsafe fn charge(engine: &Engine, id: u64) -> Result<u64, Error> {
    Ok(unsafe { effect(id) })
}

unsafe fn effect(id: u64) -> u64 {
    id
}

fn main() {
    let engine = Engine::new(idempotency::MemoryStore::new());
    // It is polled elsewhere; here it compiles.
    let _charged = unsafe { charge(&engine, 1) };
}
