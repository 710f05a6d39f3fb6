use std::future::Future;
use std::time::Duration;

use idempotent_core::{Clock, Inspect, Key, Store, Timestamp};

/// How the suite gets at a store.
///
/// # Examples
///
/// A store that counts by a clock that can be moved needs no sleeping:
///
/// ```
/// use std::time::Duration;
///
/// use idempotent_core::{Clock, MemoryStore, Timestamp};
/// use idempotent_testkit::Harness;
///
/// struct Memory(MemoryStore, Clock);
///
/// impl Harness for Memory {
///     type Store = MemoryStore;
///
///     async fn start() -> Self {
///         let clock = Clock::manual();
///         Self(MemoryStore::new().with_clock(clock.clone()), clock)
///     }
///
///     async fn store(&self) -> MemoryStore {
///         self.0.clone()
///     }
///
///     async fn pass(&self, duration: Duration) {
///         self.1.advance(duration);
///     }
///
///     fn now(&self) -> Timestamp {
///         self.1.now()
///     }
/// }
/// ```
///
/// A store on a server says how to connect, and leaves the time to pass by itself:
///
/// ```
/// # use idempotent_core::MemoryStore as MyStore;
/// # struct Server;
/// # impl Server {
/// #     async fn shared() -> Self { Self }
/// #     async fn connect(&self, _: &str) -> MyStore { MyStore::new() }
/// # }
/// # fn fresh_prefix() -> String { String::new() }
/// use idempotent_testkit::Harness;
///
/// struct MyServer {
///     server: Server,
///     prefix: String,
/// }
///
/// impl Harness for MyServer {
///     type Store = MyStore;
///
///     async fn start() -> Self {
///         Self { server: Server::shared().await, prefix: fresh_prefix() }
///     }
///
///     async fn store(&self) -> MyStore {
///         self.server.connect(&self.prefix).await
///     }
/// }
/// ```
pub trait Harness: Sized + Send + Sync + 'static {
    /// The store under test.
    type Store: Store + Inspect;

    /// A lease, or a ttl, that the suite lets run out. Long enough for the store to tell it from
    /// zero, short enough to wait for.
    const SHORT: Duration = Duration::from_millis(100);

    /// How exactly the store keeps a moment, and the harness knows the store's clock.
    const PRECISION: Duration = Duration::from_millis(10);

    /// Whom the store's notifications reach.
    const NOTIFIES: Notifies = Notifies::AllClients;

    /// Whether lists are in the order of their keys, without repetitions.
    const SORTS: bool = true;

    /// An empty store, apart from every other test's: its own file, schema or prefix.
    fn start() -> impl Future<Output = Self> + Send;

    /// A fresh handle to the store, as another process would have it.
    fn store(&self) -> impl Future<Output = Self::Store> + Send;

    /// Lets `duration` pass on the store's clock. Sleeps, unless that clock can be moved.
    fn pass(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(duration)
    }

    /// The time on the store's clock. The machine's, unless the harness knows better.
    fn now(&self) -> Timestamp {
        Clock::system().now()
    }
}

/// Whom a store tells of the end of an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a harness says all there is to say"
)]
pub enum Notifies {
    /// Everybody who watches the key.
    AllClients,
    /// Nobody: callers poll.
    Nobody,
    /// Those who watch by the handle that ends the attempt, or by its clone.
    SameClient,
}

/// What else may stand under a key of a store that others can write to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Damage {
    /// Something that is not a record.
    Foreign,
    /// A record of a format that this version does not know.
    Newer,
}

/// A [`Harness`] whose store can be damaged, for [`damage_tests!`](crate::damage_tests).
pub trait Damaging: Harness {
    /// Writes what no store would write under `key`, beside the store's back.
    fn damage(&self, key: &Key, damage: Damage) -> impl Future<Output = ()> + Send;

    /// What stands under `key`, byte by byte, to see that it was left alone.
    fn raw(&self, key: &Key) -> impl Future<Output = Vec<u8>> + Send;
}

/// A [`Harness`] whose store has an end to its room, for [`full_tests!`](crate::full_tests).
pub trait Filling: Harness {
    /// Fills the store, so that there is no room for another key.
    fn fill(&self) -> impl Future<Output = ()> + Send;

    /// Makes room again.
    fn make_room(&self) -> impl Future<Output = ()> + Send;
}
