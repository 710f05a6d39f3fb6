use std::time::Duration;

use idempotent_core::protocol::{Claim, ClaimRequest, Completion, Grant};
use idempotent_core::{CodecId, Fingerprint, Key, Owner, Payload, Store};
use idempotent_redis::RedisStore;
use idempotent_redis::redis::aio::MultiplexedConnection;
use idempotent_redis::redis::{Client, Cmd, FromRedisValue};
use idempotent_testkit::server::RedisServer;

pub(crate) const LEASE: Duration = Duration::from_secs(30);
pub(crate) const TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// A server, a store on it, and a way around the store.
pub(crate) struct World {
    pub(crate) server: RedisServer,
    pub(crate) store: RedisStore,
    pub(crate) raw: MultiplexedConnection,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::on(RedisServer::start().unwrap()).await
    }

    pub(crate) async fn on(server: RedisServer) -> Self {
        let store = RedisStore::connect(server.url()).await.unwrap();
        let client = Client::open(server.url()).unwrap();
        let raw = client.get_multiplexed_async_connection().await.unwrap();
        Self { server, store, raw }
    }

    /// Sends a command beside the store.
    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> T {
        command.query_async(&mut self.raw.clone()).await.unwrap()
    }

    /// Ends the lease under `key`, which was claimed by a [`request`].
    pub(crate) async fn lapse(&self, key: &Key) {
        let keep = u64::try_from(TTL.as_millis()).unwrap();
        () = self
            .ask(command(&["PEXPIRE"]).arg(redis_key(key)).arg(keep))
            .await;
    }

    pub(crate) async fn grant(&self, key: &Key, request: &ClaimRequest) -> Grant {
        granted(self.store.claim(key, request).await.unwrap())
    }
}

/// A command of words.
pub(crate) fn command(words: &[&str]) -> Cmd {
    let mut command = Cmd::new();
    command.arg(words);
    command
}

pub(crate) fn key(value: &str) -> Key {
    Key::new("test", value).unwrap()
}

/// Where the store keeps `key`.
pub(crate) fn redis_key(key: &Key) -> String {
    format!("idempotency:{}", key.as_str())
}

pub(crate) fn request() -> ClaimRequest {
    let fingerprint = Fingerprint::of("3 apples").unwrap();
    ClaimRequest::new(Owner::random().unwrap(), fingerprint, LEASE, TTL)
}

pub(crate) fn granted(claim: Claim) -> Grant {
    match claim {
        Claim::Granted(grant) => grant,
        claim => panic!("not granted: {claim:?}"),
    }
}

pub(crate) fn payload(bytes: &'static [u8]) -> Payload {
    Payload {
        codec: CodecId::JSON,
        bytes: bytes.into(),
    }
}

pub(crate) fn value(bytes: &'static [u8]) -> Completion {
    Completion::value(payload(bytes), TTL)
}
