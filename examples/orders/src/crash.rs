//! Dying on purpose.

use std::num::NonZeroU64;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where to die: on which side of the effect, whose record is missing in either case.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum CrashAt {
    /// The payment is made, and the order is not yet in the orders file.
    BeforeEffect,
    /// The order is in the orders file, and its result is not yet recorded.
    AfterEffect,
}

/// When and where to die.
#[derive(Debug)]
pub(crate) struct CrashPlan {
    after: Option<NonZeroU64>,
    at: CrashAt,
    reached: AtomicU64,
}

impl CrashPlan {
    pub(crate) const fn new(after: Option<NonZeroU64>, at: CrashAt) -> Self {
        Self {
            after,
            at,
            reached: AtomicU64::new(0),
        }
    }

    /// Dies if the time has come, without a chance for anything to clean up.
    pub(crate) fn reach(&self, point: CrashAt) {
        let Some(after) = self.after.filter(|_| point == self.at) else {
            return;
        };
        if self.reached.fetch_add(1, Ordering::Relaxed) + 1 == after.get() {
            let place = match point {
                CrashAt::BeforeEffect => "before",
                CrashAt::AfterEffect => "after",
            };
            eprintln!("\nkilled {place} order {after} was written; run again to see the recovery");
            process::abort();
        }
    }
}
