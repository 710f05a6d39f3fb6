//! The store passes the suite that every store has to pass.

use std::time::Duration;

use idempotent_core::protocol::ClaimRequest;
use idempotent_core::{Fingerprint, Inspect, Key, Owner, Store, StoreError, Timestamp};
use idempotent_sqlite::SqliteStore;
use idempotent_testkit::{
    Damage, Damaging, Filling, Harness, Notifies, damage_tests, full_tests, store_tests,
};

use crate::common::{File, Manual};

store_tests!(Manual);

/// As the store is by default: durable, and by the machine's clock.
mod with_defaults {
    use super::*;

    store_tests!(Default);

    struct Default(File);

    impl Harness for Default {
        type Store = SqliteStore;

        const NOTIFIES: Notifies = Notifies::SameClient;

        async fn start() -> Self {
            Self(File::new())
        }

        async fn store(&self) -> SqliteStore {
            self.0.store()
        }
    }
}

damage_tests!(Manual);

impl Damaging for Manual {
    async fn damage(&self, key: &Key, damage: Damage) {
        self.store().await;
        let (state, format) = match damage {
            Damage::Foreign => ("?", 1),
            Damage::Newer => ("P", 2),
            _ => panic!("{damage:?}"),
        };
        // As if it were to be kept for ever: a purge must not take it away.
        let insert = format!(
            "INSERT INTO idempotency_record VALUES (?1, ?2, ?3, zeroblob(16), 1, 1, 0, NULL, NULL, 0,
             zeroblob(32), 1, 1, {}, 0, 0, 0, NULL, 0, zeroblob(0))",
            i64::MAX
        );
        let sql = self.file.sql();
        sql.execute(&insert, (key.as_str(), format, state)).unwrap();
    }

    async fn raw(&self, key: &Key) -> Vec<u8> {
        let select = "SELECT * FROM idempotency_record WHERE key = ?1";
        let sql = self.file.sql();
        let mut select = sql.prepare(select).unwrap();
        let columns = select.column_count();
        let mut rows = select.query([key.as_str()]).unwrap();
        let row = rows.next().unwrap().unwrap();
        let values: Vec<_> = (0..columns).map(|n| row.get_ref(n).unwrap()).collect();
        format!("{values:?}").into()
    }
}

full_tests!(Small);

/// A store that is soon full.
struct Small(Manual);

const ROOM: u64 = 64 * 1024;

impl Harness for Small {
    type Store = SqliteStore;

    const PRECISION: Duration = Manual::PRECISION;
    const NOTIFIES: Notifies = Manual::NOTIFIES;

    async fn start() -> Self {
        Self(Manual::start().await)
    }

    async fn store(&self) -> SqliteStore {
        self.0
            .options()
            .max_bytes(ROOM)
            .open(self.0.file.path())
            .unwrap()
    }

    async fn pass(&self, duration: Duration) {
        self.0.pass(duration).await;
    }

    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

impl Filling for Small {
    async fn fill(&self) {
        let store = self.store().await;
        for filler in fillers() {
            let owner = Owner::random().unwrap();
            let request = ClaimRequest::new(owner, Fingerprint::EMPTY, Self::SHORT, Self::SHORT);
            if let Err(error) = store.claim(&filler, &request).await {
                assert!(matches!(error, StoreError::Full(_)), "{error:?}");
                return;
            }
        }
        panic!("there is always room for one more");
    }

    async fn make_room(&self) {
        self.pass(Self::SHORT * 2).await;
        let store = self.store().await;
        for filler in fillers() {
            store.delete(&filler).await.unwrap();
        }
    }
}

fn fillers() -> impl Iterator<Item = Key> {
    (0..1_000).map(|number| Key::new("filler", &number.to_string()).unwrap())
}
