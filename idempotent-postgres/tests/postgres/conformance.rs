//! The store passes the suite that every store has to pass.

use std::time::Duration;

use idempotent_core::Key;
use idempotent_postgres::PostgresStore;
use idempotent_testkit::{Damage, Damaging, Harness, Notifies, damage_tests, store_tests};

use crate::common::World;

store_tests!(World);
damage_tests!(World);

impl Damaging for World {
    async fn damage(&self, key: &Key, damage: Damage) {
        self.connect().await;
        let (state, format) = match damage {
            Damage::Foreign => ("?", 1_i16),
            Damage::Newer => ("P", 2),
            _ => panic!("{damage:?}"),
        };
        // As if it were to be kept for ever: a purge must not take it away.
        let insert = "INSERT INTO idempotency_record (key, format, state, owner, fence, attempt,
            failures, at_most_once, fingerprint, started_at, keep_nanos, expires_at, late, waiter,
            steps, codec, result, version) VALUES ($1, $2, $3, decode(repeat('00', 16), 'hex'), 1, 1,
            0, false, decode(repeat('00', 32), 'hex'), 1, 1, 9223372036854775807, 0, false, 0, 0, '',
            1)";
        self.sql(insert, &[&key.as_str(), &format, &state]).await;
    }

    async fn raw(&self, key: &Key) -> Vec<u8> {
        let select = "SELECT r::text FROM idempotency_record r WHERE key = $1";
        let rows = self.sql(select, &[&key.as_str()]).await;
        rows[0].get::<_, String>(0).into()
    }
}

/// As if every statement could meet another session. All cases share a server, which takes longer to
/// start than a case to run.
mod behind_a_pooler {
    use std::sync::OnceLock;

    use idempotent_testkit::conformance::store_cases;
    use idempotent_testkit::server::PostgresServer;
    use tokio::task::JoinSet;

    use super::*;
    use crate::common::fresh_schema;

    /// How many cases run at a time.
    const AT_ONCE: usize = 8;

    static URL: OnceLock<String> = OnceLock::new();

    struct Pooled {
        schema: String,
    }

    impl Harness for Pooled {
        type Store = PostgresStore;

        const SHORT: Duration = World::SHORT;
        const NOTIFIES: Notifies = Notifies::Nobody;

        async fn start() -> Self {
            Self {
                schema: fresh_schema(),
            }
        }

        async fn store(&self) -> PostgresStore {
            let options = PostgresStore::options().schema(&*self.schema);
            let options = options.behind_pooler(true).connections(2);
            options.connect(URL.get().unwrap()).await.unwrap()
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn without_sessions_the_store_passes_the_suite() {
        let server = PostgresServer::any().unwrap();
        URL.set(server.url().to_owned()).unwrap();
        let mut running = JoinSet::new();
        for case in store_cases::<Pooled>() {
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
