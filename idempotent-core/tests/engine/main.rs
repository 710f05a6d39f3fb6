//! The engine: what a call does in every situation.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap like tests")]

mod abandoned;
mod cancel;
mod conflict;
mod drained;
mod errors;
mod late_grant;
mod lease;
mod modes;
mod panic;
mod replay;
mod results;
mod steps;
mod store_failure;
mod unrecorded;
mod waits;
mod world;
