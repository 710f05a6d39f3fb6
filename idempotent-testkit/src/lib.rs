//! Proof for idempotent functions, and for the stores that remember them.
//!
//! Code that handles retries is right until it is stopped in the wrong place. This crate stops it in
//! every place: your functions, an engine that runs them, and a store that promises to remember.
//!
//! # Your functions
//!
//! [`interruptions`] calls a function, stops it at each await and at each call of its store in turn,
//! retries it, and reports how often its effect happened:
//!
//! ```
//! use std::sync::atomic::{AtomicUsize, Ordering};
//!
//! use idempotent_core::{Engine, Error, OnAbandoned};
//! use idempotent_testkit::interruptions::Interruptions;
//!
//! static CHARGES: AtomicUsize = AtomicUsize::new(0);
//!
//! async fn charge(engine: &Engine, order: u32) -> Result<String, Error> {
//!     let operation = engine.operation("orders.charge").key(order);
//!     operation
//!         .on_abandoned(OnAbandoned::InDoubt)
//!         .run(async {
//!             CHARGES.fetch_add(1, Ordering::SeqCst);
//!             Ok("paid".to_owned())
//!         })
//!         .await
//! }
//!
//! Interruptions::of(|store| async { charge(&Engine::new(store), 7).await })
//!     .effects(|| CHARGES.load(Ordering::SeqCst))
//!     .run()
//!     .assert_at_most(1);
//! ```
//!
//! [`history`] keeps what an operation has recorded in its steps, and tells whether a new version of it can
//! go on from there.
//!
//! [`faults`] puts a script before a store: fail here, lose this reply, lose the lease there.
//!
//! # Your store
//!
//! - [`store_tests!`] makes a test of each sentence that is true of every store. The author of a
//!   store says in a few lines how to get at one: see [`Harness`].
//! - [`equality`] compares random sequences of operations with the
//!   [specification](idempotent_core::protocol::apply).
//! - [`broken`] has a store for each mistake that the suite must notice, and does.
//! - [`server`] starts real servers, kills them, and cuts their connections.
//!
//! # What is not proved
//!
//! A test shows that there are faults, never that there are none. The suite sees a store through its
//! own process: what a crash of the server loses, only a crash of the server shows.

#![expect(clippy::unwrap_used, reason = "test code in a library")]

mod align;
pub mod broken;
pub mod conformance;
pub mod equality;
pub mod faults;
mod harness;
pub mod history;
pub mod interruptions;
pub mod server;

pub use self::harness::{Damage, Damaging, Filling, Harness, Notifies};
