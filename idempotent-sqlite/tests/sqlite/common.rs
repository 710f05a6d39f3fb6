//! What the tests of this crate share.

use std::path::PathBuf;
use std::time::Duration;

use idempotent_core::protocol::{Claim, ClaimRequest, Completion, Grant};
use idempotent_core::{Clock, CodecId, Fingerprint, Key, Owner, Payload, Store, Timestamp};
use idempotent_sqlite::{Durability, SqliteOptions, SqliteStore};
use idempotent_testkit::{Harness, Notifies};
use rusqlite::Connection;
use tempfile::TempDir;

pub(crate) const LEASE: Duration = Duration::from_secs(30);
pub(crate) const TTL: Duration = Duration::from_secs(60 * 60);

/// A file in a directory of its own, which goes with it.
pub(crate) struct File {
    directory: TempDir,
}

impl File {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("records.db")
    }

    pub(crate) fn store(&self) -> SqliteStore {
        SqliteStore::open(self.path()).unwrap()
    }

    /// Another connection to the file, beside the store's back.
    pub(crate) fn sql(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }
}

pub(crate) fn key(value: &str) -> Key {
    Key::new("test", value).unwrap()
}

pub(crate) fn request() -> ClaimRequest {
    ClaimRequest::new(
        Owner::random().unwrap(),
        Fingerprint::of("arguments").unwrap(),
        LEASE,
        TTL,
    )
}

pub(crate) fn value(text: &str) -> Completion {
    let bytes = text.to_owned().into_bytes().into();
    Completion::value(
        Payload {
            codec: CodecId::JSON,
            bytes,
        },
        TTL,
    )
}

/// Claims `key`, which nobody holds.
pub(crate) async fn grant(store: &SqliteStore, key: &Key) -> Grant {
    match store.claim(key, &request()).await.unwrap() {
        Claim::Granted(grant) => grant,
        claim => panic!("{claim:?}"),
    }
}

/// A store on a file of its own, whose clock only tests move.
///
/// `Normal` spares the tests the disk's time, and changes nothing that they can see.
pub(crate) struct Manual {
    pub(crate) file: File,
    pub(crate) clock: Clock,
}

impl Manual {
    pub(crate) fn options(&self) -> SqliteOptions {
        SqliteStore::options()
            .clock(self.clock.clone())
            .durability(Durability::Normal)
    }
}

impl Harness for Manual {
    type Store = SqliteStore;

    const PRECISION: Duration = Duration::ZERO;
    const NOTIFIES: Notifies = Notifies::SameClient;

    async fn start() -> Self {
        Self {
            file: File::new(),
            clock: Clock::manual(),
        }
    }

    async fn store(&self) -> SqliteStore {
        self.options().open(self.file.path()).unwrap()
    }

    async fn pass(&self, duration: Duration) {
        self.clock.advance(duration);
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
