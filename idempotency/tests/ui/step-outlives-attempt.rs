//! A step belongs to its attempt.

use std::future::Future;

use idempotency::{Attempt, Error};

fn charge(run: Attempt) -> impl Future<Output = Result<u32, Error>> {
    run.step("charge", |_| async { Ok(500) })
}

fn main() {}
