//! A primary and its replica, and an address that stays when they change places.

use std::time::Duration;

use anyhow::{Result, bail};
use idempotency::redis::RedisStore;
use idempotency::{Inspect, Key, Record};
use idempotent_testkit::server::{Proxy, RedisServer};
use tokio::task::{block_in_place, spawn_blocking};
use tokio::time::sleep;

use crate::records::{Access, Place};
use crate::world::World;

/// How often, and how long apart, a replica is asked whether it is ready.
const TRIES: usize = 2_000;
const PAUSE: Duration = Duration::from_millis(5);
/// The service's address stays away for so long, in which answers that are on their way arrive.
const OUTAGE: Duration = Duration::from_millis(60);

/// A pair of servers.
#[derive(Debug)]
pub(super) struct Servers {
    primary: Seat,
    replica: Seat,
    /// Where the workers connect.
    front: Proxy,
    /// Where the replica gets its data.
    link: Proxy,
}

#[derive(Debug)]
struct Seat {
    server: RedisServer,
    store: RedisStore,
}

impl Seat {
    async fn start() -> Result<Self> {
        // The log says what a killed server had acknowledged. Nothing is lost of it but by the
        // machine's own crash.
        let builder = RedisServer::builder()
            .tcp()
            .arg("--appendonly", "yes")
            .arg("--appendfsync", "no")
            .arg("--repl-diskless-sync-delay", "0");
        let server = spawn_blocking(move || builder.start()).await??;
        let store = Access::default().redis(server.url()).await?;
        Ok(Self { server, store })
    }

    async fn records(&self, keys: &[Key]) -> Result<Vec<Option<Record>>> {
        let mut records = Vec::new();
        for key in keys {
            let mut record = self.store.get(key).await;
            if record.is_err() {
                // The connection is one from before the server was killed.
                record = self.store.get(key).await;
            }
            records.push(record?);
        }
        Ok(records)
    }

    fn restart(&mut self) -> Result<()> {
        Ok(block_in_place(|| self.server.restart())?)
    }

    fn says(&self, section: &str, what: &[&str]) -> bool {
        let said = self.server.ask(&["INFO", section]).unwrap_or_default();
        what.iter()
            .all(|what| said.lines().any(|line| line.trim_end() == *what))
    }
}

impl Servers {
    pub(super) async fn start() -> Result<Self> {
        let (primary, replica) = (Seat::start().await?, Seat::start().await?);
        let front = Proxy::start(primary.server.endpoint()?).await?;
        let link = Proxy::start(primary.server.endpoint()?).await?;
        let servers = Self {
            primary,
            replica,
            front,
            link,
        };
        servers.follow().await?;
        Ok(servers)
    }

    /// Where the workers find the primary of the moment.
    pub(super) fn place(&self) -> Place {
        Place::redis(&self.front)
    }

    /// Has the servers ended if the harness is killed.
    pub(super) async fn entrust(&self, world: &World) -> Result<()> {
        world.watch(&self.primary.server).await?;
        world.watch(&self.replica.server).await
    }

    /// Holds back what the replica gets.
    pub(super) fn lag(&self, lag: Duration) {
        self.link.delay_replies(lag);
    }

    /// Kills the primary. What is on its way to the replica goes with it.
    pub(super) async fn kill_primary(&mut self) -> Result<()> {
        self.primary.server.kill()?;
        self.link.refuse();
        self.front.refuse();
        sleep(OUTAGE).await;
        Ok(())
    }

    /// Makes the replica the primary. Returns what it has of `keys`.
    pub(super) async fn promote(&mut self, keys: &[Key]) -> Result<Vec<Option<Record>>> {
        std::mem::swap(&mut self.primary, &mut self.replica);
        self.primary.server.ask(&["REPLICAOF", "NO", "ONE"])?;
        let records = self.primary.records(keys).await?;
        self.front.redirect(self.primary.server.endpoint()?);
        self.front.accept();
        Ok(records)
    }

    /// Starts the dead primary as the new one's replica. Returns what it had of `keys`.
    pub(super) async fn rejoin(
        &mut self,
        world: &World,
        keys: &[Key],
    ) -> Result<Vec<Option<Record>>> {
        self.replica.restart()?;
        world.watch(&self.replica.server).await?;
        let records = self.replica.records(keys).await?;
        self.follow().await?;
        Ok(records)
    }

    /// Has the replica follow the primary, and waits until it could take its place.
    async fn follow(&self) -> Result<()> {
        self.link.delay_replies(Duration::ZERO);
        self.link.redirect(self.primary.server.endpoint()?);
        self.link.accept();
        let address = self.link.address();
        let port = address.port().to_string();
        let replica = &self.replica.server;
        replica.ask(&["REPLICAOF", &address.ip().to_string(), &port])?;
        // Until its log has been rewritten, it would not tell all that it had.
        wait("a replica is ready", || {
            self.replica.says("replication", &["master_link_status:up"])
                && self.replica.says(
                    "persistence",
                    &["aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"],
                )
        })
        .await
    }

    /// Waits until the replica has all that the primary has.
    pub(super) async fn catch_up(&self) -> Result<()> {
        self.link.delay_replies(Duration::ZERO);
        let offset = |seat: &Seat, name: &str| {
            let said = seat
                .server
                .ask(&["INFO", "replication"])
                .unwrap_or_default();
            let mut lines = said.lines().filter_map(|line| line.split_once(':'));
            let found = lines.find(|(field, _)| *field == name);
            found.map(|(_, value)| value.trim().to_owned())
        };
        wait("a replica is up to date", || {
            let have = offset(&self.replica, "slave_repl_offset");
            have.is_some() && have == offset(&self.primary, "master_repl_offset")
        })
        .await
    }
}

async fn wait(what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
    for _ in 0..TRIES {
        if holds() {
            return Ok(());
        }
        sleep(PAUSE).await;
    }
    bail!("not in time: {what}")
}
