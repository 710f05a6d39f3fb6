//! What the tests of this crate share.

use std::time::Duration;

use idempotent_core::protocol::{Claim, ClaimRequest, Completion, Grant};
use idempotent_core::{CodecId, Fingerprint, Key, Owner, Payload, Step, Store};
use idempotent_postgres::tokio_postgres::types::ToSql;
use idempotent_postgres::tokio_postgres::{Client, NoTls, Row, connect};
use idempotent_postgres::{PostgresOptions, PostgresStore};
use idempotent_testkit::Harness;
use idempotent_testkit::server::PostgresServer;

pub(crate) const LEASE: Duration = Duration::from_secs(30);
pub(crate) const TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// A server, a schema of the test's own, and a way around the store.
pub(crate) struct World {
    pub(crate) server: PostgresServer,
    pub(crate) schema: String,
}

impl World {
    /// On a server that others may use too.
    pub(crate) fn on_any() -> Self {
        Self::on(PostgresServer::any().unwrap())
    }

    pub(crate) fn on(server: PostgresServer) -> Self {
        Self {
            server,
            schema: fresh_schema(),
        }
    }

    pub(crate) fn options(&self) -> PostgresOptions {
        PostgresStore::options().schema(&*self.schema)
    }

    pub(crate) async fn connect(&self) -> PostgresStore {
        self.options().connect(self.server.url()).await.unwrap()
    }

    /// Another connection to the server, which finds the tables without their schema.
    pub(crate) async fn client(&self) -> Client {
        let client = client_of(self.server.url()).await;
        let path = format!("SET search_path = {}", self.schema);
        client.batch_execute(&path).await.unwrap();
        client
    }

    /// Runs SQL beside the store.
    pub(crate) async fn sql(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
        self.client().await.query(sql, values).await.unwrap()
    }

    /// Ends the lease under `key`.
    pub(crate) async fn lapse(&self, key: &Key) {
        let update = "UPDATE idempotency_record SET version = version + 1,
            expires_at = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + keep_nanos / 1000
            WHERE key = $1";
        self.sql(update, &[&key.as_str()]).await;
    }
}

impl Harness for World {
    type Store = PostgresStore;

    const SHORT: Duration = Duration::from_millis(200);

    async fn start() -> Self {
        Self::on_any()
    }

    async fn store(&self) -> PostgresStore {
        self.connect().await
    }
}

pub(crate) async fn client_of(url: &str) -> Client {
    let (client, connection) = connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A schema's name that nobody else has.
pub(crate) fn fresh_schema() -> String {
    format!("test_{}", Owner::random().unwrap())
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

pub(crate) fn step(name: &str) -> Step {
    Step {
        name: name.to_owned(),
        value: vec![1].into(),
    }
}

pub(crate) fn granted(claim: Claim) -> Grant {
    match claim {
        Claim::Granted(grant) => grant,
        claim => panic!("not granted: {claim:?}"),
    }
}

/// Claims `key`, which nobody holds.
pub(crate) async fn grant(store: &PostgresStore, key: &Key) -> Grant {
    granted(store.claim(key, &request()).await.unwrap())
}
