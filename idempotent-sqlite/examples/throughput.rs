//! Counts the claims, and the whole calls, that one store takes in a second.
//!
//! ```text
//! cargo run --release --example throughput -- [callers] [seconds] [directory]
//! ```

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use idempotent_core::protocol::{Claim, ClaimRequest, Completion};
use idempotent_core::{CodecId, Fingerprint, Key, Owner, Payload, Store};
use idempotent_sqlite::SqliteStore;
use tokio::time::Instant;

type BoxError = Box<dyn Error + Send + Sync>;

const LEASE: Duration = Duration::from_secs(30);
const TTL: Duration = Duration::from_secs(60 * 60 * 24);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let callers = arguments.next().map_or(Ok(64), |text| text.parse())?;
    let seconds = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let base = arguments.next().unwrap_or_else(|| ".".to_owned());

    let directory = tempfile::tempdir_in(base)?;
    let store = SqliteStore::open(directory.path().join("throughput.db"))?;
    let time = Duration::from_secs(seconds);
    println!("{callers} callers");
    print(
        "claims",
        measure(&store, callers, time, Kind::Claim).await?,
        time,
    );
    print(
        "calls (claim and complete)",
        measure(&store, callers, time, Kind::Call).await?,
        time,
    );
    print(
        "replays",
        measure(&store, callers, time, Kind::Replay).await?,
        time,
    );
    Ok(())
}

#[derive(Clone, Copy)]
enum Kind {
    Call,
    Claim,
    Replay,
}

async fn measure(
    store: &SqliteStore,
    callers: u64,
    time: Duration,
    kind: Kind,
) -> Result<u64, BoxError> {
    let count = Arc::new(AtomicU64::new(0));
    let end = Instant::now() + time;
    let mut tasks = Vec::new();
    for caller in 0..callers {
        let (store, count) = (store.clone(), Arc::clone(&count));
        tasks.push(tokio::spawn(async move {
            let mut number = 0_u64;
            while Instant::now() < end {
                number += 1;
                run(&store, kind, caller, number).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, BoxError>(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(count.load(Ordering::Relaxed))
}

async fn run(store: &SqliteStore, kind: Kind, caller: u64, number: u64) -> Result<(), BoxError> {
    let key = match kind {
        Kind::Call => Key::new("calls", &format!("{caller}-{number}"))?,
        Kind::Claim => Key::new("claims", &format!("{caller}-{number}"))?,
        Kind::Replay => Key::new("calls", &format!("{caller}-1"))?,
    };
    let request = ClaimRequest::new(Owner::random()?, Fingerprint::of(&caller)?, LEASE, TTL);
    match (store.claim(&key, &request).await?, kind) {
        (Claim::Done(_), Kind::Replay) | (Claim::Granted(_), Kind::Claim) => Ok(()),
        (Claim::Granted(grant), Kind::Call) => {
            let payload = Payload {
                codec: CodecId::JSON,
                bytes: vec![b' '; 256].into(),
            };
            store
                .complete(&key, &grant, &Completion::value(payload, TTL))
                .await?;
            Ok(())
        }
        (claim, _) => Err(format!("unexpected: {claim:?}").into()),
    }
}

fn print(what: &str, count: u64, time: Duration) {
    println!("{what}: {}/s", count / time.as_secs());
}
