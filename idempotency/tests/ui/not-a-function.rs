//! Only a function can be run twice.

use idempotency::idempotent;

#[idempotent(key = id)]
struct Charge {
    id: u64,
}

#[idempotent(key = id)]
impl Charge {
    const ZERO: Self = Self { id: 0 };
}

fn main() {
    let _id = Charge::ZERO.id;
}
