//! Sequences of operations on one key, at any time: the rules hold after each of them.

#![no_main]

use idempotent_core::protocol::sequences;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sequences::check(bytes));
