//! Proof for stores, and for functions that must not happen twice.

#![expect(clippy::unwrap_used, reason = "test code in a library")]

mod align;
pub mod broken;
pub mod conformance;
pub mod equality;
pub mod faults;
mod harness;
pub mod server;

pub use self::harness::{Damage, Damaging, Filling, Harness, Notifies};
