//! All times that a reply or a record has, to compare two that were made at slightly other moments.

use std::time::Duration;

use idempotent_core::protocol::{Claim, Found, Grant, Recorded, Reply, StepReply, Update};
use idempotent_core::{Fence, Record, Timestamp};

/// One of them.
pub(crate) enum Time<'a> {
    At(&'a mut Timestamp),
    For(&'a mut Duration),
    Of(&'a mut Fence),
}

pub(crate) trait Times: Clone {
    /// Shows every time to `look`, always in the same order.
    fn visit(&mut self, look: &mut dyn FnMut(Time<'_>));

    /// Makes every moment later.
    fn shift(&mut self, by: Duration) {
        self.visit(&mut |time| match time {
            Time::At(at) => *at = at.plus(by),
            Time::For(_) => {}
            Time::Of(fence) => *fence = later(*fence, by),
        });
    }

    /// Takes over the times of `other` that are the same but for the tolerance.
    fn align(&mut self, other: &Self, tolerance: Duration) {
        let mut others = Vec::new();
        other.clone().visit(&mut |time| others.push(time.micros()));
        let mut others = others.into_iter();
        self.visit(&mut |mut time| {
            let (own, Some(other)) = (time.micros(), others.next()) else {
                return;
            };
            if Duration::from_micros(own.abs_diff(other)) <= tolerance {
                time.set(other);
            }
        });
    }
}

impl Time<'_> {
    fn micros(&self) -> u64 {
        match self {
            Time::At(at) => at.as_micros(),
            Time::For(duration) => u64::try_from(duration.as_micros()).unwrap(),
            Time::Of(fence) => fence.as_u64(),
        }
    }

    fn set(&mut self, micros: u64) {
        match self {
            Time::At(at) => **at = Timestamp::from_micros(micros),
            Time::For(duration) => **duration = Duration::from_micros(micros),
            Time::Of(fence) => **fence = Fence::from_u64(micros),
        }
    }
}

pub(crate) fn later(fence: Fence, by: Duration) -> Fence {
    Fence::from_u64(fence.granted_at().plus(by).as_micros())
}

pub(crate) fn earlier(fence: Fence, by: Duration) -> Fence {
    Fence::from_u64(fence.granted_at().minus(by).as_micros())
}

impl<T: Times> Times for Option<T> {
    fn visit(&mut self, look: &mut dyn FnMut(Time<'_>)) {
        if let Some(inner) = self {
            inner.visit(look);
        }
    }
}

impl Times for Timestamp {
    fn visit(&mut self, look: &mut dyn FnMut(Time<'_>)) {
        look(Time::At(self));
    }
}

impl Times for Fence {
    fn visit(&mut self, look: &mut dyn FnMut(Time<'_>)) {
        look(Time::Of(self));
    }
}

impl Times for Duration {
    fn visit(&mut self, look: &mut dyn FnMut(Time<'_>)) {
        look(Time::For(self));
    }
}

macro_rules! times_of {
    ($($type:ty { $($field:ident),* })*) => {$(
        impl Times for $type {
            fn visit(&mut self, look: &mut dyn FnMut(Time<'_>)) {
                $(self.$field.visit(look);)*
            }
        }
    )*};
}

times_of! {
    Found { fence, recorded }
    Grant { fence, started_at }
    Record { fence, started_at, expires_at, completed_at }
    Recorded { fence, completed_at, expires_at, remaining }
}

impl Times for Reply {
    fn visit(&mut self, look: &mut dyn FnMut(Time<'_>)) {
        match self {
            Self::Claim(Claim::Busy { remaining, .. }) => remaining.visit(look),
            Self::Claim(Claim::Done(recorded)) => recorded.visit(look),
            Self::Claim(Claim::Granted(grant)) => grant.visit(look),
            Self::Claim(Claim::InDoubt(doubt)) => doubt.grant.visit(look),
            Self::Step(StepReply::Lost(found)) | Self::Update(Update::Lost(found)) => {
                found.visit(look);
            }
            _ => {}
        }
    }
}
