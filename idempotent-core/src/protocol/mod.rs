//! The protocol: what a store is asked, what it answers, and the pure function between the two.
//!
//! ```text
//!             claim                       complete
//!   absent ----------> InProgress -----------------------> Completed / Failed --ttl--> absent
//!                       |   ^   | lease over, at most once
//!    release(reason)    |   |   +--------------------> InDoubt --resolve--> Completed | Released
//!                       v   | claim: fence up, attempt + 1 (unchanged after a clean release)
//!                    Released, or InProgress with its lease over
//! ```
//!
//! [`apply()`] is the specification. [`MemoryStore`](crate::MemoryStore) is a map around it, and
//! every other store is tested for equality with it.

mod apply;
mod message;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod sequences;
#[cfg(test)]
mod tests;

pub use self::apply::apply;
pub(crate) use self::apply::{claim, complete, record_step, release, renew};
pub use self::message::{
    Claim, ClaimRequest, Completion, Doubt, Failures, Found, Grant, Holder, Operation, Recorded,
    Release, ReleaseMode, Reply, StepReply, Update,
};
