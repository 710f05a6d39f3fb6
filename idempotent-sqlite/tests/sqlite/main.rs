//! The store on real files, against the specification and against accidents.

#![expect(clippy::unwrap_used, reason = "a test, outside of its functions too")]

mod common;
mod conformance;
mod damage;
mod equality;
mod group;
mod open;
mod outbox;
mod processes;
mod purger;
mod steps;
mod transactions;
mod within;
