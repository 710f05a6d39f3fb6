//! The store against real servers.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap like tests")]

#[cfg(feature = "cluster")]
mod cluster;
mod connections;
mod equality;
#[cfg(feature = "sentinel")]
mod failover;
mod full;
mod notifications;
mod races;
mod refusals;
mod replicas;
mod support;
mod times;
