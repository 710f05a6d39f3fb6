//! The layer, rule by rule. The numbers are of the specification.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap like tests")]

mod activation;
mod claims;
mod errors;
mod execution;
mod identity;
mod presets;
mod privacy;
mod recording;
mod requests;
mod responses;
mod world;
