use std::sync::Arc;
use std::time::Duration;

use idempotent_core::protocol::{Claim, ClaimRequest, Operation, Reply, apply};
use idempotent_core::{Clock, Fingerprint, Owner};
use rusqlite::Connection;

use super::*;
use crate::rows::PURGE_CHUNK;
use crate::schema::{DEFAULT_TABLE, Sql};

const LEASE: Duration = Duration::from_secs(30);

/// A writer on a connection that `configure` has had in its hands.
struct Bench {
    _directory: tempfile::TempDir,
    clock: Clock,
    writer: Writer,
}

impl Bench {
    fn new(configure: impl FnOnce(&Connection)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut connection = Connection::open(directory.path().join("records.db")).unwrap();
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
            .unwrap();
        let sql = Arc::new(Sql::new(DEFAULT_TABLE).unwrap());
        sql.migrate(&mut connection).unwrap();
        configure(&connection);
        let clock = Clock::manual();
        let table = Table {
            sql,
            clock: clock.clone(),
            max_bytes: None,
        };
        let writer = Writer::spawn(connection, table, Watchers::new()).unwrap();
        Self {
            _directory: directory,
            clock,
            writer,
        }
    }

    async fn apply(&self, key: usize, operation: Operation) -> Result<Reply, StoreError> {
        let key = Key::new("test", &key.to_string()).unwrap();
        let work =
            move |rows: &mut Rows<'_>| rows.update(&key, |slot, now| apply(slot, &operation, now));
        self.writer.call(work).await
    }

    async fn claim(&self, key: usize) -> Result<Claim, StoreError> {
        let owner = Owner::random().unwrap();
        let request = ClaimRequest::new(owner, Fingerprint::EMPTY, LEASE, LEASE);
        match self.apply(key, Operation::Claim(request)).await? {
            Reply::Claim(claim) => Ok(claim),
            reply => panic!("{reply:?}"),
        }
    }
}

/// A limit that SQLite itself enforces stands for the disk, as far as the file goes.
#[tokio::test]
async fn a_full_file_says_so_and_reads_on() {
    let bench = Bench::new(|connection| {
        connection
            .pragma_update_and_check(None, "max_page_count", 40, |_| Ok(()))
            .unwrap();
    });
    let mut grants = Vec::new();
    let error = loop {
        match bench.claim(grants.len()).await {
            Ok(Claim::Granted(grant)) => grants.push(grant),
            Ok(claim) => panic!("{claim:?}"),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, StoreError::Full(_)) && error.is_transient(),
        "{error:?}"
    );
    assert!(grants.len() > 100, "{}", grants.len());

    // What needs no room goes on.
    for number in 0..grants.len() {
        let conflict = bench.claim(number).await.unwrap();
        assert!(matches!(conflict, Claim::Busy { .. }), "{conflict:?}");
    }

    bench
        .clock
        .advance(LEASE * 3 + Duration::from_secs(60 * 60));
    assert!(
        bench
            .writer
            .call(|rows| rows.purge(PURGE_CHUNK))
            .await
            .unwrap()
            > 100
    );
    assert!(matches!(bench.claim(0).await.unwrap(), Claim::Granted(_)));
}

#[tokio::test]
async fn a_thread_that_has_died_is_an_error_and_not_a_hang() {
    let bench = Bench::new(|_| ());
    let work = |_: &mut Rows<'_>| -> Result<(), Error> { panic!("on purpose") };
    let error = bench.writer.call(work).await.unwrap_err();
    assert!(matches!(error, StoreError::Backend(_)), "{error:?}");
    let error = bench.claim(0).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Backend(_)) && !error.is_transient(),
        "{error:?}"
    );
}
