//! A model of the protocol, and a checker that looks at everything that can happen in it.
//!
//! The store's side of the model is no model: it is [`apply`](idempotency::protocol::apply) itself,
//! the function that the memory store runs, on the very messages and records of the protocol. The
//! callers' side is a small state machine that does what the engine does, in any order and at any
//! speed. The network keeps a message for as long as it likes, and may forget it.
//!
//! # What a step of the model is in the engine
//!
//! | step of a call (`turn.rs`) | the engine | |
//! | --- | --- | --- |
//! | `ask` | `Call::ask` | a fresh owner for each question; a waiter claims again |
//! | `retry` | `Call::claim_patiently`, `Recorder::try_from` | the same owner and grant after a lost reply |
//! | `give_up` a claim | `Call::withdraw` | a clean release of a claim that was never answered |
//! | `hear_claim` | `Call::ask_as`, `Operation::start` | an own doubt is released clean; a stale claim is asked anew |
//! | `begin` | `Held::in_time`, `Held::renewed` | a grant that came late is renewed before the body (C11) |
//! | `act`, `complete` | `Held::drive`, `conclude` | the body, and what follows its value |
//! | `step` | `Store::record_step` | a step of the body, run unless the grant has it |
//! | `keep_lease` | `Held::keep_lease` | beside the body, which goes on whatever the answer is |
//! | `superseded` | `Held::superseded` | the winner's result in place of a late owner's |
//! | `give_up` a result | `Settled::Unrecorded`, `Recorder::record_late` | an error that carries the value; the completion is still under way |
//! | `fail` | `Held::settle_error` | a tombstone; a doubt where the mode is at most once and the effect happened |
//! | `panic`, `cancel` | `Held::settle_panic`, `Drop for Held` | a note if the body ran, a clean release if it never began |
//! | `resolve` | `Call::resolve` under `run_verified` | the verdict is true: done, surely not executed, or unknown |
//! | `end`, as a crash | `kill -9` | what it has sent is still on its way |
//!
//! # Time and misfortune
//!
//! Time is counted in ticks, and all clocks agree. A pause is a caller that does nothing while ticks
//! pass; a delayed message is one that is delivered later, a reordered one overtakes, and a lost one
//! is never delivered. These come for free, in any number. Everything else that goes wrong uses up
//! the world's [`misfortunes`](Bounds::misfortunes).
//!
//! A *life* of a key is the time from the grant of an absent record to the moment when the protocol
//! lets everybody forget it. The promises P1 to P3, P5 and P7 are about one life. A lost record ends
//! it early, which is why they say less on a store that loses records.
//!
//! # What is not modelled
//!
//! Clocks that disagree or step back; several keys; other arguments under the same key; recorded
//! errors, which are results to a store; ttls and leases that change between calls; the near cache
//! and the shared questions of one process; `on_cancel = release` and `run_unprotected`; the moment
//! between the check of a lease and the first instruction of the body, which are one step here.
//!
//! # How it is kept small
//!
//! States that differ in nothing that matters count as one: see `canonical.rs`. An answer that a
//! caller may as well read at once is read at once. Callers begin in order.

mod action;
mod bounds;
mod canonical;
mod check;
mod history;
mod machine;
mod promise;
mod search;
mod state;
mod store;
mod story;
mod summary;
mod turn;
mod variant;
mod world;

pub use self::bounds::Bounds;
pub use self::check::{Counterexample, Exploration, Progress, fail, hold};
pub use self::promise::Promise;
pub use self::summary::{story, summary};
pub use self::variant::Variant;
pub use self::world::World;
