//! Tools for testing idempotent functions and stores.

pub mod server;
