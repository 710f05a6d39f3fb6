//! Dying on purpose.

use std::process::{self, Command};
use std::sync::OnceLock;
use std::thread;

/// Where a booking can die.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Point {
    /// Before the ride is claimed.
    Start,
    /// It is claimed, and nothing is done.
    Claimed,
    /// The rows of the ride are written, and not committed.
    InRide,
    /// They are committed.
    AfterRide,
    /// The payment provider is about to be asked.
    BeforeCharge,
    /// The card is charged, which is not recorded.
    Charged,
    /// The charge is recorded.
    AfterCharge,
    /// The receipt is staged, and not committed.
    InReceipt,
    /// All is committed, and the client has no answer.
    BeforeReply,
}

static PLAN: OnceLock<Point> = OnceLock::new();

/// Sets where to die.
pub(crate) fn plan(point: Option<Point>) {
    if let Some(point) = point {
        PLAN.get_or_init(|| point);
    }
}

/// Dies, if that is the plan: by SIGKILL, so that nothing cleans up.
pub(crate) fn at(point: Point) {
    if PLAN.get() != Some(&point) {
        return;
    }
    let killed = Command::new("kill")
        .args(["-9", &process::id().to_string()])
        .status();
    if killed.is_err() {
        process::abort();
    }
    loop {
        thread::park();
    }
}
