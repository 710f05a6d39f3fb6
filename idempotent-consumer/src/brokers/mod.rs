//! Brokers, each behind a feature.

#[cfg(feature = "redis-streams")]
pub mod redis;
