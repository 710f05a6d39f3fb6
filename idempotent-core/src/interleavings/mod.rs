//! The same few calls at once, under many schedules.
//!
//! A scheduler chooses who goes on at each lock, each atomic and each await: at random, and by
//! priorities with a few changes of them, which finds other faults. A schedule that leaves somebody
//! asleep for ever fails as a deadlock; so do lost wake-ups.
//!
//! Time is the tests' own, too: see [`runtime`]. What tokio's own locks and channels do in their inside is one step here.

mod check_then_act;
mod engine;
mod memory;
pub(crate) mod runtime;
mod waiters;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};

use crate::fingerprint::Fingerprint;
use crate::key::Key;
use crate::lease::Owner;
use crate::protocol::ClaimRequest;

/// How many changes of priority a schedule has.
const CHANGES: usize = 3;
const LEASE: Duration = Duration::from_millis(90);
const TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// How many schedules each test explores in either way.
fn schedules() -> usize {
    let asked = env::var("IDEMPOTENT_SCHEDULES").ok();
    asked.map_or(300, |asked| asked.parse().expect("a number of schedules"))
}

/// Runs `test` under many schedules, and says how many.
fn explore(name: &str, test: impl Fn() + Send + Sync + Clone + 'static) {
    let explored = under(RandomScheduler::new(schedules()), test.clone())
        + under(PctScheduler::new(CHANGES, schedules()), test);
    println!("{name}: {explored} schedules");
}

fn under(scheduler: impl Scheduler + 'static, test: impl Fn() + Send + Sync + 'static) -> usize {
    let mut config = Config::new();
    // Without optimisation, the future of a call is larger than what threads have by default.
    config.stack_size = 1 << 20;
    Runner::new(scheduler, config).run(test)
}

/// Whether some schedule makes `test` panic.
fn is_found_out(test: impl Fn() + Send + Sync + Clone + 'static) -> bool {
    println!("a control, whose failure is meant:");
    catch_unwind(AssertUnwindSafe(|| explore("a control", test))).is_err()
}

fn key(value: &str) -> Key {
    Key::new("interleavings", value).unwrap()
}

fn request() -> ClaimRequest {
    let fingerprint = Fingerprint::from_bytes([7; 32]);
    ClaimRequest::new(Owner::random().unwrap(), fingerprint, LEASE, TTL)
}
