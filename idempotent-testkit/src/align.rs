//! Comparing what two looks at one record gave, where the looks are not at the same moment.

use std::time::Duration;

use idempotent_core::protocol::{Claim, Doubt, Found, Grant, Recorded, Reply, StepReply, Update};
use idempotent_core::{Deletion, Fence, Record, Timestamp};

/// Takes over the other's times where they differ by no more than a tolerance.
///
/// What is still unequal afterwards differs in more than its time.
pub(crate) trait Align {
    fn align(&mut self, with: &Self, tolerance: Duration);
}

impl Align for Timestamp {
    fn align(&mut self, with: &Self, tolerance: Duration) {
        if self.since(*with) <= tolerance && with.since(*self) <= tolerance {
            *self = *with;
        }
    }
}

impl Align for Duration {
    fn align(&mut self, with: &Self, tolerance: Self) {
        if self.abs_diff(*with) <= tolerance {
            *self = *with;
        }
    }
}

impl Align for Fence {
    fn align(&mut self, with: &Self, tolerance: Duration) {
        let mut time = self.granted_at();
        time.align(&with.granted_at(), tolerance);
        *self = Self::from_u64(time.as_micros());
    }
}

impl<T: Align> Align for Option<T> {
    fn align(&mut self, with: &Self, tolerance: Duration) {
        if let (Some(one), Some(other)) = (self, with) {
            one.align(other, tolerance);
        }
    }
}

/// Fields that are times, or consist of some. All others have to be equal.
macro_rules! align_fields {
    ($($type:ty { $($field:ident),* })*) => {$(
        impl Align for $type {
            fn align(&mut self, with: &Self, tolerance: Duration) {
                $(self.$field.align(&with.$field, tolerance);)*
            }
        }
    )*};
}

align_fields! {
    Doubt { grant }
    Found { fence, recorded }
    Grant { fence, started_at }
    Record { fence, started_at, expires_at, completed_at }
    Recorded { fence, completed_at, expires_at, remaining }
}

impl Align for Claim {
    fn align(&mut self, with: &Self, tolerance: Duration) {
        match (self, with) {
            (
                Self::Busy { remaining, .. },
                Self::Busy {
                    remaining: with, ..
                },
            ) => {
                remaining.align(with, tolerance);
            }
            (Self::Done(recorded), Self::Done(with)) => recorded.align(with, tolerance),
            (Self::Granted(grant), Self::Granted(with)) => grant.align(with, tolerance),
            (Self::InDoubt(doubt), Self::InDoubt(with)) => doubt.align(with, tolerance),
            _ => {}
        }
    }
}

impl Align for Update {
    fn align(&mut self, with: &Self, tolerance: Duration) {
        if let (Self::Lost(found), Self::Lost(with)) = (self, with) {
            found.align(with, tolerance);
        }
    }
}

impl Align for StepReply {
    fn align(&mut self, with: &Self, tolerance: Duration) {
        if let (Self::Lost(found), Self::Lost(with)) = (self, with) {
            found.align(with, tolerance);
        }
    }
}

impl Align for Reply {
    fn align(&mut self, with: &Self, tolerance: Duration) {
        match (self, with) {
            (Self::Claim(claim), Self::Claim(with)) => claim.align(with, tolerance),
            (Self::Step(step), Self::Step(with)) => step.align(with, tolerance),
            (Self::Update(update), Self::Update(with)) => update.align(with, tolerance),
            _ => {}
        }
    }
}

/// For what has no time in it.
macro_rules! align_nothing {
    ($($type:ty),*) => {$(
        impl Align for $type {
            fn align(&mut self, _: &Self, _: Duration) {}
        }
    )*};
}

align_nothing!((), Deletion);
