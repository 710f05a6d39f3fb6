//! Consumers over a broker in memory. A test names the rules that it shows.

#![expect(clippy::unwrap_used, reason = "a test, outside of its functions too")]

mod annotated;
mod chaos;
mod config;
mod holding;
mod identity;
mod interleavings;
mod leases;
mod outages;
mod poison;
mod settlement;
mod shutdown;
mod table;
mod transactions;
mod world;
