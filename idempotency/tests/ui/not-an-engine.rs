//! What is named as the engine must be one.

use idempotency::{Error, idempotent};

struct Service {
    name: String,
}

impl Service {
    #[idempotent(key = id, engine = self.name)]
    async fn charge(&self, id: u64) -> Result<u64, Error> {
        Ok(id)
    }
}

fn main() {
    let service = Service { name: String::new() };
    let _charged = service.charge(1);
}
