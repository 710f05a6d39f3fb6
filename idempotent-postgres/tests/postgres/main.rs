//! The store on real servers, against the specification and against accidents.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test, outside of its functions too")]

mod accidents;
mod common;
mod conformance;
mod cost;
mod damage;
mod equality;
mod notifications;
mod open;
#[cfg(all(feature = "deadpool", feature = "sqlx"))]
mod outbox;
mod pooler;
mod purger;
mod races;
#[cfg(all(feature = "deadpool", feature = "sqlx"))]
mod steps;
#[cfg(all(feature = "deadpool", feature = "sqlx"))]
mod transactions;
