//! The Redis and Valkey store of `idempotency`.
//!
//! A call that was made twice should take effect once, also when its two tries reach two processes
//! that share nothing but a Redis server. [`RedisStore`] keeps the records by which they agree.
//!
//! ```no_run
//! // It needs a server.
//! use idempotent_core::{Engine, Error};
//! use idempotent_redis::RedisStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = RedisStore::connect("redis://127.0.0.1/").await?.with_prefix("payments:");
//! let engine = Engine::new(store);
//! let charge = engine.operation("payments.charge").key("order-17").fingerprint(&500);
//! let receipt = charge.run(async { Ok::<_, Error>("charged 500".to_owned()) }).await?;
//! # Ok(())
//! # }
//! ```
//!
//! It takes Redis 7.0, Valkey 7.2, or later. A first call costs two commands, a replay one.
//!
//! # What is promised
//!
//! - As long as the server keeps what it has acknowledged, everything that the
//!   [protocol](idempotent_core::protocol) promises: one runs at a time while its lease holds, a late
//!   owner changes nothing, and fences rise.
//! - Time is the server's. Clients with wrong clocks still agree on who owns a key.
//! - A server without room refuses new keys and takeovers; work that has begun is kept and finished.
//! - What is not a record of ours is never overwritten.
//!
//! # What is not
//!
//! - **A server that crashes** loses what its append-only file did not have: a second of writes with
//!   `appendfsync everysec`, none with `always`, everything without the file. A call whose record
//!   was lost may run again as the first. [`RedisStore::server`] says which it is.
//! - **A failover** loses what the replica had not received. Nothing that this crate could do changes
//!   that. `min-replicas-to-write` narrows the gap, and so does [`RedisStore::with_replicas`].
//! - **A server that evicts** keys when it is full forgets results without a word. So one with
//!   `maxmemory` and a policy other than `noeviction` is refused, unless
//!   [it is allowed](ConnectOptions::allow_eviction).
//! - **An owner that lost its record** to a crash or a failover may write it anew, but only within the
//!   ttl of its grant, less a second (less a fiftieth, if that is shorter): later, another life of the
//!   key may have come and gone.
//! - **Fences of two lives of a key** may come in the wrong order if a command is under way for
//!   longer than the ttl. A claim whose reply comes late is given a new fence; one whose reply is
//!   lost on top of it keeps the old one when it is repeated. A connection counts as dead after 10 s
//!   without an acknowledgement, so this takes a ttl of seconds.
//!
//! # Time
//!
//! Durations are rounded up to whole milliseconds. Below 1 ms they are refused, and above 31 years.
//!
//! The end of a lease is the expiry of its key, less the time for which the record outlives it. So
//! `EXPIRE` and `PERSIST`, called by hand, change leases. A record whose expiry was taken away gets
//! one more lease, from the next claim on.
//!
//! A first grant's fence, the time of completion and the time of a replay's end come from an estimate
//! of the server's clock that each client makes once a minute. It is never ahead of the server, and
//! behind it by one round trip at most. So the fences of two clients may be in the wrong order where
//! less than that lies between the deletion, or loss, of a record and the next claim.
//!
//! # Waiting
//!
//! A caller that waits is told of the attempt's end by a message on a channel that has the name of
//! the key. One connection for each store handle, and its clones, reads them all. It is opened when
//! somebody waits, and made again when it is lost; the engine polls in any case. Messages are sent
//! only for keys that somebody waits for. A store on a [bare connection](RedisStore::new) is not
//! told, unless it is [given a client](RedisStore::with_notifications).
//!
//! # Cluster
//!
//! With the feature `cluster`, [`RedisStore::connect_cluster`] connects to a Redis Cluster. Each
//! record is one key, so every script stays on one node. Notifications are plain messages, which
//! the nodes pass on to each other, so one connection to any node hears all of them; they are few.
//! Lists go through the nodes one after the other; while slots move, they may miss records.
//!
//! # Sentinel
//!
//! With the feature `sentinel`, [`ConnectOptions::connect_sentinel`] connects to the master of the
//! moment, and to its successor after a failover. Calls fail in between, as transient errors, and
//! the engine repeats them.
//!
//! # Connections
//!
//! [`Reconnecting`] is what [`RedisStore::connect`] uses. A store on another connection
//! ([`RedisStore::new`]) recovers as that one does: the driver's `ConnectionManager` keeps some errors
//! that it met while connecting, and repeats them for ever.
//!
//! # Rights
//!
//! For a user with access control, with the default prefix:
//!
//! ```text
//! ~idempotency:* &idempotency:* +set +get +getrange +setrange +append +del +pexpire +pexpireat
//! +pexpiretime +pttl +time +eval +evalsha +publish +subscribe +unsubscribe +ping +scan +info
//! +config|get
//! ```
//!
//! Without the right to a channel, or to `PUBLISH`, waiting callers poll. Without `INFO` and
//! `CONFIG GET`, nothing is known of evictions and crashes, and an event says so.
//!
//! # Reading records
//!
//! A record is one string, under the prefix and the [text of its key](idempotent_core::Key::as_str):
//!
//! ```text
//! > GET "idempotency:payments.charge/order-17"
//! "idr1C5f0c..1e1732420000123456--r57f6..9b1,0,0,86400000,0,1,153211,86400000|\"charged 500\""
//! ```
//!
//! That is: format 1, completed, the owner's token, the grant's fence (its time in microseconds),
//! nobody waits, no ending, no attempt before, may run again, the fingerprint, attempt 1, no
//! failures, no late completions, kept for a day if it had not finished, first granted 0 us before
//! its last grant, in codec 1, 153211 us after the grant, for a day; then the result. The source of
//! the module `text` has the layout byte by byte.
//!
//! # Features
//!
//! | feature | what it brings |
//! | --- | --- |
//! | `cluster` | Redis Cluster |
//! | `sentinel` | Redis Sentinel |
//! | `tls-rustls` | `rediss://` by rustls, with the platform's certificates; the application installs a crypto provider |
//!
//! None is on by default. For other TLS, turn on the feature of [`redis`] that brings it.

#![cfg_attr(docsrs_idempotency, feature(doc_cfg))]

mod claim;
#[cfg(feature = "cluster")]
mod cluster;
mod connect;
mod error;
mod inspect;
mod notify;
mod reconnect;
mod replicas;
mod scan;
mod script;
#[cfg(feature = "sentinel")]
mod sentinel;
mod server;
mod store;
mod text;
mod time;
mod update;

pub use redis;

pub use self::connect::ConnectOptions;
pub use self::reconnect::Reconnecting;
pub use self::server::{Durability, Server};
pub use self::store::RedisStore;
