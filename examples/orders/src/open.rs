//! Opens the store and the orders file, which belong together.

use std::fs;
use std::path::Path;
use std::time::Duration;

#[cfg(feature = "postgres")]
use idempotency::postgres::PostgresStore;
#[cfg(feature = "redis")]
use idempotency::redis::RedisStore;
use idempotency::sqlite::SqliteStore;
use idempotency::{BoxError, Deletion, Engine, Inspect, MemoryStore, Query, Store, StoreError};
use tokio::time::sleep;

use crate::args::{Args, StoreChoice};
use crate::crash::CrashPlan;
use crate::notes;
use crate::order::Shop;
use crate::orders_file::OrdersFile;
use crate::payments::Payments;

/// Opens what `args` name.
pub(crate) async fn open(args: &Args) -> Result<Shop, BoxError> {
    let path = args.store.orders_file();
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match &args.store {
        StoreChoice::Memory => shop(MemoryStore::new(), args, &path).await,
        StoreChoice::Sqlite(file) => shop(SqliteStore::open(file)?, args, &path).await,
        #[cfg(feature = "postgres")]
        StoreChoice::Postgres(url) => shop(PostgresStore::connect(url).await?, args, &path).await,
        #[cfg(feature = "redis")]
        StoreChoice::Redis(url) => {
            shop(RedisStore::connect(url.as_str()).await?, args, &path).await
        }
        #[cfg(not(feature = "postgres"))]
        StoreChoice::Postgres(url) => Err(left_out("PostgreSQL", "postgres", url)),
        #[cfg(not(feature = "redis"))]
        StoreChoice::Redis(url) => Err(left_out("Redis", "redis", url)),
    }
}

/// What to do for a store that is not in the program.
#[cfg(not(all(feature = "postgres", feature = "redis")))]
fn left_out(name: &str, feature: &str, url: &str) -> BoxError {
    format!(
        "this was built without {name}, which would make the first build longer: \
         `cargo run -p orders --features {feature} -- --store {url}`"
    )
    .into()
}

async fn shop(store: impl Store + Inspect, args: &Args, path: &Path) -> Result<Shop, BoxError> {
    // Without results, the orders of an earlier run would be created again.
    if args.fresh || matches!(args.store, StoreChoice::Memory) {
        forget(&store).await?;
        fs::write(path, "")?;
    }
    let engine = Engine::builder(store)
        .lease(args.lease)
        .observer(notes::observe);
    Ok(Shop {
        engine: engine.build(),
        orders: OrdersFile::open(path.to_owned())?,
        payments: Payments::default(),
        crash: CrashPlan::new(args.crash_after, args.crash_at),
    })
}

/// Deletes the results of all orders.
async fn forget(store: &impl Inspect) -> Result<(), StoreError> {
    let mut query = Some(Query::all().with_scope("orders.create"));
    while let Some(current) = query {
        let page = store.list(&current).await?;
        for entry in &page.entries {
            while store.delete(&entry.key).await? == Deletion::InProgress {
                eprintln!("waiting for an attempt to end; if it died, its lease ends soon");
                sleep(Duration::from_millis(500)).await;
            }
        }
        query = current.next(&page);
    }
    Ok(())
}
