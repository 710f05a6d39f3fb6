//! Counts the calls and the replays that one store takes in a second, and what a call writes.
//!
//! ```text
//! cargo run --release -p idempotent-postgres --example cost -- [connections] [seconds]
//! ```
//!
//! The server is the example's own, in the system's temporary directory, and flushes to its disk.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use idempotent_core::protocol::{Claim, ClaimRequest, Completion};
use idempotent_core::{CodecId, Fingerprint, Key, Owner, Payload, Store};
use idempotent_postgres::PostgresStore;
use idempotent_testkit::server::PostgresServer;
use tokio::task::JoinSet;
use tokio::time::Instant;

type BoxError = Box<dyn Error + Send + Sync>;

const LEASE: Duration = Duration::from_secs(30);
const TTL: Duration = Duration::from_secs(60 * 60 * 24);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let connections = arguments.next().map_or(Ok(4), |text| text.parse())?;
    let seconds = arguments.next().map_or(Ok(3), |text| text.parse())?;

    let server = PostgresServer::builder()
        .durable()
        .setting("autovacuum", "off")
        .start()?;
    let options = PostgresStore::options().connections(connections);
    let store = options.connect(server.url()).await?;
    println!("{connections} connections");
    for callers in [1, 16, 64, 256] {
        let time = Duration::from_secs(seconds);
        let before = log_position(&server)?;
        let calls = measure(&store, callers, time, false).await?;
        let bytes = log_position(&server)? - before;
        let replays = measure(&store, callers, time, true).await?;
        println!(
            "{callers:>3} callers: {:>6} calls/s, {:>6} replays/s, {:>4} bytes of log a call",
            calls / seconds,
            replays / seconds,
            bytes / calls.max(1),
        );
    }
    drop(store);
    // The sessions have counted once they are gone.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let counted = server.ask(
        "SELECT n_tup_hot_upd, n_tup_upd, pg_table_size(relid) / n_tup_ins,
                pg_indexes_size(relid) / n_tup_ins
           FROM pg_stat_user_tables WHERE relname = 'idempotency_record'",
    )?;
    println!("in place | updates | bytes of table | of indexes a record: {counted}");
    Ok(())
}

fn log_position(server: &PostgresServer) -> Result<u64, BoxError> {
    let position = server.ask("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")?;
    Ok(position.parse()?)
}

async fn measure(
    store: &PostgresStore,
    callers: u64,
    time: Duration,
    replays: bool,
) -> Result<u64, BoxError> {
    let count = Arc::new(AtomicU64::new(0));
    let end = Instant::now() + time;
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let (store, count) = (store.clone(), Arc::clone(&count));
        tasks.spawn(async move {
            let mut number = 0_u64;
            while Instant::now() < end {
                number += 1;
                let number = if replays { 1 } else { number };
                let key = Key::new("calls", &format!("{callers}-{caller}-{number}"))?;
                call(&store, &key, replays).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, BoxError>(())
        });
    }
    for done in tasks.join_all().await {
        done?;
    }
    Ok(count.load(Ordering::Relaxed))
}

async fn call(store: &PostgresStore, key: &Key, replays: bool) -> Result<(), BoxError> {
    let request = ClaimRequest::new(Owner::random()?, Fingerprint::EMPTY, LEASE, TTL);
    match store.claim(key, &request).await? {
        Claim::Done(_) if replays => Ok(()),
        Claim::Granted(grant) if !replays => {
            let payload = Payload {
                codec: CodecId::JSON,
                bytes: vec![b' '; 256].into(),
            };
            let completion = Completion::value(payload, TTL);
            store.complete(key, &grant, &completion).await?;
            Ok(())
        }
        claim => Err(format!("unexpected: {claim:?}").into()),
    }
}
