//! Chaos on real servers and in simulations, and a judge of what came of it; and a [`model`] in which
//! everything happens.
//!
//! Worker processes call a function under `#[idempotent]`, and nothing but the attribute protects
//! them. The harness kills them, stops them, cuts their connections and restarts their server, and
//! has others call again with the same keys. Each body writes down that it began and that it had its
//! effect, each caller what it got, and the harness looks at the records. All that is known of a key
//! is then judged by the promises of the protocol: they go by the names of its properties, P1 to P8.
//!
//! What callers and onlookers saw of a key must have an order, too: it is linearizable, as a register
//! that is written once.
//!
//! Where an effect is a row that is committed with its record, the judge counts rows: one at most at any
//! time, one in the end, and none without its record.
//!
//! What is not judged here: P7, a recorded step is never run again, because the functions under test
//! have no steps.
//!
//! One file has one kind of run: [`race`], [`kill`], [`stop`], [`blocked`], [`cut`], [`reconnect`],
//! [`restart`], [`failover`], [`evict`], [`full`], [`transaction`]. [`sim`] has many of them at once,
//! on a network and a clock of its own, where a seed is the same run every time. [`Control`] breaks a
//! store, or its use, on purpose, to show that a run on a broken store is not a good one.

pub mod blocked;
mod body;
mod case;
mod control;
pub mod controls;
pub mod cut;
pub mod evict;
pub mod failover;
pub mod full;
pub mod guard;
mod history;
pub mod kill;
mod late;
mod ledger;
mod log;
mod message;
pub mod model;
mod once;
mod process;
mod progress;
pub mod race;
mod random;
pub mod reconnect;
mod records;
mod report;
pub mod restart;
mod rows;
mod server;
mod setup;
pub mod sim;
pub mod stop;
pub mod transaction;
mod volley;
mod witness;
pub mod worker;
mod world;

pub use self::control::Control;
pub use self::report::{Report, Violation, summary, table};
pub use self::setup::{Mode, Setup, StoreKind};
