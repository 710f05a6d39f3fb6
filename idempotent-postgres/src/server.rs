use idempotent_core::StoreError;

use crate::error::{Error, Refused};
use crate::session::Ask;
use crate::store::PostgresStore;
use crate::value::{Cell, Cells};

/// The first version in which inserted rows alone let a table be vacuumed, 13.
const OLDEST: i64 = 130_000;

/// All that the store wants to know of a server.
pub(crate) const QUESTION: &str = "
    SELECT current_setting('server_version_num')::bigint, current_setting('server_version'),
           current_setting('fsync'), current_setting('synchronous_commit'),
           current_setting('synchronous_standby_names')";

/// What a server loses when it crashes, from the least to the most.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing: what was answered is on the disks of the server and of its synchronous standbys.
    Standbys,
    /// Nothing: what was answered is on the server's disk.
    ///
    /// A failover to a standby that lags behind loses its last moments all the same.
    Disk,
    /// The answers of the last moments, because of `synchronous_commit = off`: their operations run a
    /// second time.
    LastMoments,
    /// Anything, because of `fsync = off`: a crash of the machine may leave the database damaged.
    Everything,
}

/// What a server says about itself.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Server {
    /// Its version, as in `15.4 (Debian 15.4-1)`.
    pub version: String,
    /// What it loses when it crashes.
    pub durability: Durability,
}

impl Server {
    pub(crate) fn read(row: &impl Cells) -> Result<Self, Error> {
        let version = asked(row.text(1))?.to_owned();
        if asked(row.number(0))? < OLDEST {
            return Err(Refused::OldServer(version).into());
        }
        let (fsync, commit) = (asked(row.text(2))?, asked(row.text(3))?);
        let standbys = !asked(row.text(4))?.is_empty();
        let durability = match (fsync, commit) {
            ("off", _) => Durability::Everything,
            (_, "off") => Durability::LastMoments,
            (_, "on" | "remote_apply") if standbys => Durability::Standbys,
            _ => Durability::Disk,
        };
        Ok(Self {
            version,
            durability,
        })
    }

    /// Says in a `tracing` event what the server promises.
    pub(crate) fn report(&self) {
        let Self {
            version,
            durability,
        } = self;
        match durability {
            Durability::Disk | Durability::Standbys => {
                tracing::info!(
                    version,
                    ?durability,
                    "the server keeps what it has answered"
                );
            }
            Durability::LastMoments => tracing::warn!(
                version,
                "a crash of the server forgets the last moments: `synchronous_commit` is off"
            ),
            Durability::Everything => tracing::warn!(
                version,
                "a crash of the machine may damage the database: `fsync` is off"
            ),
        }
    }
}

impl PostgresStore {
    /// Asks the server what it promises, and says so in a `tracing` event.
    ///
    /// Connecting does so already. An application that will not go on with less than
    /// [`Durability::Disk`] asks here.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn server(&self) -> Result<Server, StoreError> {
        let rows = self.records.inspection.ask(Ask::Text(QUESTION), &[]).await;
        let rows = rows?;
        let server = Server::read(rows.first().ok_or(Error::Reply)?)?;
        server.report();
        Ok(server)
    }
}

fn asked<T>(cell: Cell<T>) -> Result<T, Error> {
    cell.ok().flatten().ok_or(Error::Reply)
}
