//! What is named as the engine must be one.

use idempotency::{Error, idempotent};

struct Name;

struct Service {
    name: Name,
}

impl Service {
    #[idempotent(key = id, engine = self.name)]
    async fn charge(&self, id: u64) -> Result<u64, Error> {
        Ok(id)
    }
}

fn main() {
    let service = Service { name: Name };
    let _charged = service.charge(1);
}
