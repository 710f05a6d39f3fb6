//! The store passes the suite that every store passes.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test, outside of its functions too")]

use std::time::Duration;

use idempotent_core::{Key, Owner};
use idempotent_redis::RedisStore;
use idempotent_redis::redis::{Client, Cmd, FromRedisValue};
use idempotent_testkit::equality::Sequences;
use idempotent_testkit::server::RedisServer;
use idempotent_testkit::{
    Damage, Damaging, Filling, Harness, damage_tests, full_tests, store_tests,
};

store_tests!(AnyServer);
damage_tests!(AnyServer);
full_tests!(OwnServer);

/// A server that others may use too, and a prefix for each case.
struct AnyServer {
    server: RedisServer,
    prefix: String,
}

impl AnyServer {
    fn on(server: RedisServer) -> Self {
        Self {
            server,
            prefix: format!("{}:", Owner::random().unwrap()),
        }
    }

    async fn ask<T: FromRedisValue>(&self, command: &mut Cmd) -> T {
        let client = Client::open(self.server.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        command.query_async(&mut connection).await.unwrap()
    }

    fn redis_key(&self, key: &Key) -> String {
        [&self.prefix, key.as_str()].concat()
    }
}

impl Harness for AnyServer {
    type Store = RedisStore;

    const SHORT: Duration = Duration::from_millis(200);

    /// Fences and times of completion are as old as the command that brings them.
    const PRECISION: Duration = Duration::from_millis(40);

    const SORTS: bool = false;

    async fn start() -> Self {
        Self::on(RedisServer::any().unwrap())
    }

    async fn store(&self) -> RedisStore {
        RedisStore::connect(self.server.url())
            .await
            .unwrap()
            .with_prefix(&*self.prefix)
    }
}

impl Damaging for AnyServer {
    async fn damage(&self, key: &Key, damage: Damage) {
        let text = match damage {
            Damage::Foreign => "something else",
            Damage::Newer => "idr2 and so on",
            _ => unreachable!("damage of another version"),
        };
        () = self
            .ask(Cmd::new().arg("SET").arg(self.redis_key(key)).arg(text))
            .await;
    }

    async fn raw(&self, key: &Key) -> Vec<u8> {
        self.ask(Cmd::new().arg("GET").arg(self.redis_key(key)))
            .await
    }
}

/// A server of each case's own, which can be filled, and more time for a busy machine.
struct OwnServer(AnyServer);

impl Harness for OwnServer {
    type Store = RedisStore;

    const SHORT: Duration = Duration::from_millis(500);

    const PRECISION: Duration = Duration::from_millis(150);

    const SORTS: bool = AnyServer::SORTS;

    async fn start() -> Self {
        Self(AnyServer::on(RedisServer::start().unwrap()))
    }

    async fn store(&self) -> RedisStore {
        self.0.store().await
    }

    /// Longer than the clients' estimates of the server's time differ, on a busy machine.
    async fn pass(&self, duration: Duration) {
        tokio::time::sleep(duration.max(Duration::from_millis(100))).await;
    }
}

impl Filling for OwnServer {
    async fn fill(&self) {
        self.0
            .server
            .ask(&["CONFIG", "SET", "maxmemory", "1"])
            .unwrap();
    }

    async fn make_room(&self) {
        self.0
            .server
            .ask(&["CONFIG", "SET", "maxmemory", "0"])
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_sequences_go_as_the_specification_says() {
    let sequences = Sequences::new(0x1d).count(300).at_once(150);
    println!("{}", sequences.check(OwnServer::start().await).await);
}

/// All cases share a cluster, because it takes seconds to start. Each has a prefix of its own.
#[cfg(feature = "cluster")]
mod in_a_cluster {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use idempotent_redis::redis::cluster_async::ClusterConnection;
    use idempotent_testkit::conformance::store_cases;
    use idempotent_testkit::server::RedisCluster;
    use tokio::task::JoinSet;

    use super::*;

    /// How many cases run at a time.
    const AT_ONCE: usize = 8;

    static NODES: OnceLock<Vec<String>> = OnceLock::new();
    static PREFIXES: AtomicUsize = AtomicUsize::new(0);

    struct InCluster(String);

    impl Harness for InCluster {
        type Store = RedisStore<ClusterConnection>;

        const SHORT: Duration = AnyServer::SHORT;

        const PRECISION: Duration = AnyServer::PRECISION;

        const SORTS: bool = AnyServer::SORTS;

        async fn start() -> Self {
            Self(format!("{}:", PREFIXES.fetch_add(1, Ordering::Relaxed)))
        }

        async fn store(&self) -> RedisStore<ClusterConnection> {
            let nodes = NODES.get().unwrap().iter().map(String::as_str);
            RedisStore::connect_cluster(nodes)
                .await
                .unwrap()
                .with_prefix(&*self.0)
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_cluster_passes_the_suite() {
        let cluster = RedisCluster::start(3).unwrap();
        NODES.set(cluster.urls()).unwrap();
        let mut running = JoinSet::new();
        for case in store_cases::<InCluster>() {
            if running.len() == AT_ONCE {
                running.join_next().await.unwrap().unwrap();
            }
            running.spawn(async move {
                println!("{}", case.name());
                case.run().await;
            });
        }
        running.join_all().await;
    }
}
