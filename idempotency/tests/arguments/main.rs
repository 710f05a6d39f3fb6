//! Every argument of the attribute does what its documentation says.

mod fingerprint;
mod flaky;
mod keys;
mod policies;

use idempotency::{Engine, MemoryStore};

fn engine() -> Engine {
    Engine::new(MemoryStore::new())
}
