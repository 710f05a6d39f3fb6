//! All that is wrong is reported at once, and the function exists all the same.

use idempotency::{Error, idempotent};

#[idempotent(ttl = "soon")]
const fn charge(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {
    let _charged: Result<u64, Error> = charge(1);
}
