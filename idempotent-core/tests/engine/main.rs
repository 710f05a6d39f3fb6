//! The engine: what a call does in every situation.

mod abandoned;
mod cancel;
mod conflict;
mod errors;
mod lease;
mod modes;
mod panic;
mod replay;
mod results;
mod world;
