//! A method that every implementation writes for itself is idempotent where it is written.

use idempotency::{Error, idempotent};

trait Charge {
    #[idempotent(key = id)]
    async fn charge(&self, id: u64) -> Result<u64, Error>;
}

struct Card;

impl Charge for Card {
    async fn charge(&self, id: u64) -> Result<u64, Error> {
        Ok(id)
    }
}

fn main() {
    let _charged = Card.charge(1);
}
