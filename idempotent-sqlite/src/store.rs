use std::path::Path;
use std::time::Duration;

use idempotent_core::protocol::{
    self, Claim, ClaimRequest, Completion, Grant, Holder, Operation, Release, Reply, StepReply,
    Update,
};
use idempotent_core::{Key, Step, Store, StoreError, Watch, Watchers};

use crate::error::Error;
use crate::inspect::Reader;
use crate::options::SqliteOptions;
use crate::rows::Rows;
use crate::transaction::Transactions;
use crate::writer::Writer;

/// Records in a SQLite file. The [crate] says what is promised, and what is not.
///
/// # Speed
///
/// One thread writes. It takes up all the operations that came while it was writing, commits them
/// together, and answers none of them before. A caller alone gets as many operations in a second as
/// the disk can flush; 64 at once get nearly 64 times as many. What changes nothing, such as a
/// replay, needs no flush, nor the lock that another process may hold.
///
/// # Clone
///
/// Clones are handles to the same file and share its thread. Open a file once in a process, and
/// clone.
///
/// # Drop
///
/// After the last handle, the thread finishes what it was sent and closes the file. Nobody waits for
/// it: whatever was answered is safe already.
///
/// # Examples
///
/// ```
/// use idempotent_sqlite::SqliteStore;
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("idempotency.db");
/// let store = SqliteStore::open(path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SqliteStore {
    pub(crate) reader: Reader,
    pub(crate) transactions: Transactions,
    pub(crate) watchers: Watchers,
    pub(crate) writer: Writer,
}

impl SqliteStore {
    /// Opens the file at `path`, and creates it and its tables if they are not there.
    ///
    /// The file may be the application's own database: it gets tables whose names begin with
    /// `idempotency_`, and is switched to a write-ahead log. Opening reads and writes the disk, and
    /// waits up to 5 seconds for other processes, so it belongs at the start of a program.
    ///
    /// # Errors
    ///
    /// - [`StoreError::Misconfigured`] if the records would not last (`:memory:`, an empty path, a
    ///   `file:` URI, which may name a database in memory), or if the file is on a network file
    ///   system. On other systems than Linux the latter is not noticed.
    /// - [`StoreError::Incompatible`] if a newer version of this library has changed the tables.
    /// - [`StoreError::Corrupt`] if the file is not a database.
    /// - Others if the file cannot be opened and written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::options().open(path)
    }

    /// Options, for all that is not as usual.
    pub fn options() -> SqliteOptions {
        SqliteOptions::new()
    }

    async fn apply(&self, key: &Key, operation: Operation) -> Result<Reply, StoreError> {
        let key = key.clone();
        let work = move |rows: &mut Rows<'_>| {
            rows.update(&key, |slot, now| protocol::apply(slot, &operation, now))
        };
        self.writer.call(work).await
    }

    async fn update(&self, key: &Key, operation: Operation) -> Result<Update, StoreError> {
        match self.apply(key, operation).await? {
            Reply::Update(update) => Ok(update),
            _ => Err(Error::OtherReply.into()),
        }
    }
}

impl Store for SqliteStore {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    async fn claim(&self, key: &Key, request: &ClaimRequest) -> Result<Claim, StoreError> {
        match self.apply(key, Operation::Claim(request.clone())).await? {
            Reply::Claim(claim) => Ok(claim),
            _ => Err(Error::OtherReply.into()),
        }
    }

    async fn complete(
        &self,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<Update, StoreError> {
        let (grant, completion) = (grant.clone(), completion.clone());
        self.update(key, Operation::Complete { grant, completion })
            .await
    }

    async fn record_step(
        &self,
        key: &Key,
        grant: &Grant,
        step: &Step,
        lease: Duration,
    ) -> Result<StepReply, StoreError> {
        let (grant, step) = (grant.clone(), step.clone());
        match self
            .apply(key, Operation::RecordStep { grant, step, lease })
            .await?
        {
            Reply::Step(reply) => Ok(reply),
            _ => Err(Error::OtherReply.into()),
        }
    }

    async fn release(
        &self,
        key: &Key,
        holder: &Holder,
        release: Release,
    ) -> Result<Update, StoreError> {
        self.update(
            key,
            Operation::Release {
                holder: *holder,
                release,
            },
        )
        .await
    }

    async fn renew(&self, key: &Key, grant: &Grant, lease: Duration) -> Result<Update, StoreError> {
        self.update(
            key,
            Operation::Renew {
                grant: grant.clone(),
                lease,
            },
        )
        .await
    }

    /// Hears of the ends of attempts that end through this handle and its clones. SQLite tells nobody
    /// what other processes write: of those, the engine's polling hears.
    async fn watch(&self, key: &Key) -> Result<Watch, StoreError> {
        Ok(self.watchers.subscribe(key))
    }
}
