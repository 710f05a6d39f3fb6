//! A blocking function would block whoever waits for its result.

use idempotency::{Error, idempotent};

#[idempotent(key = id)]
fn charge(id: u64) -> Result<u64, Error> {
    Ok(id)
}

// A future that is not boxed is no better: it could not be told from any other value.
#[idempotent(key = id)]
fn refund(id: u64) -> impl Future<Output = Result<u64, Error>> {
    async move { Ok(id) }
}

fn main() {
    let _charged: Result<u64, Error> = charge(1);
    let _refunded = refund(1);
}
