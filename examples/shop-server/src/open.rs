//! Opens the store, and the engine over it.

use std::fs;

#[cfg(feature = "postgres")]
use idempotency::postgres::PostgresStore;
#[cfg(feature = "redis")]
use idempotency::redis::RedisStore;
use idempotency::sqlite::SqliteStore;
use idempotency::{BoxError, Engine, Inspect, MemoryStore, Purger, Store, TaskHandle};

use crate::args::StoreChoice;
use crate::outage::{Switch, Switched};

/// What remembers responses, and the task that removes those whose time is over.
pub(crate) struct Memory {
    pub(crate) engine: Engine,
    pub(crate) switch: Switch,
    pub(crate) purger: TaskHandle,
}

/// Opens what was chosen.
pub(crate) async fn open(choice: &StoreChoice) -> Result<Memory, BoxError> {
    match choice {
        StoreChoice::Memory => Ok(over(MemoryStore::new())),
        StoreChoice::Sqlite(file) => {
            if let Some(folder) = file.parent() {
                fs::create_dir_all(folder)?;
            }
            Ok(over(SqliteStore::open(file)?))
        }
        #[cfg(feature = "postgres")]
        StoreChoice::Postgres(url) => Ok(over(PostgresStore::connect(url).await?)),
        #[cfg(feature = "redis")]
        StoreChoice::Redis(url) => Ok(over(RedisStore::connect(url.as_str()).await?)),
        #[cfg(not(feature = "postgres"))]
        StoreChoice::Postgres(url) => Err(left_out("postgres", url)),
        #[cfg(not(feature = "redis"))]
        StoreChoice::Redis(url) => Err(left_out("redis", url)),
    }
}

/// What to do for a store that is not in the program.
#[cfg(not(all(feature = "postgres", feature = "redis")))]
fn left_out(feature: &str, url: &str) -> BoxError {
    let run = format!("cargo run -p shop-server --features {feature} -- --store {url}");
    format!("this was built without that store: `{run}`").into()
}

fn over(store: impl Store + Inspect) -> Memory {
    let switch = Switch::default();
    Memory {
        engine: Engine::new(Switched::new(store.clone(), switch.clone())),
        switch,
        purger: Purger::new(store).spawn(),
    }
}
