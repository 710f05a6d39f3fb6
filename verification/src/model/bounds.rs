//! How large a world is explored.

use std::fmt;

/// What the calls of one model may do, and for how long.
///
/// Everything is small, and that loses little: a fault of a protocol that needs four calls or four
/// misfortunes to show is rare, and each of these numbers multiplies the states.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Bounds {
    /// Calls of one key; each is a caller of its own.
    pub calls: u8,
    /// How often a call may claim under a fresh owner.
    pub claims: u8,
    /// When time ends.
    pub ticks: u8,
    /// How many ticks a lease lasts.
    pub lease: u8,
    /// How many ticks a finished record is kept; an unfinished one is kept as long after its lease.
    pub ttl: u8,
    /// How many misfortunes there may be, of all kinds together: a message that is sent again or
    /// delivered twice, patience that ends, an error, a panic, a cancellation, a crash, a lost record.
    /// Delay, reordering and pauses cost nothing, and a lost message is one that is delayed for ever.
    pub misfortunes: u8,
    /// Whether the store may lose an acknowledged record.
    pub loses_records: bool,
    /// Whether a body has a step to record before its effect.
    pub has_steps: bool,
    /// Whether an abandoned attempt leaves a doubt, which the next call settles by a look at the world.
    pub at_most_once: bool,
}

/// A tick, by the store's clock, in microseconds: longer than any model has grants, so that no two
/// of them share a microsecond.
pub(super) const TICK: u64 = 1_000;

impl Bounds {
    /// Two calls, each with one claim, under a lease of one tick.
    pub(super) const PAIR: Self = Self {
        calls: 2,
        claims: 1,
        ticks: 4,
        lease: 1,
        ttl: 2,
        misfortunes: 1,
        loses_records: false,
        has_steps: false,
        at_most_once: false,
    };
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            calls,
            claims,
            ticks,
            lease,
            ttl,
            misfortunes,
            ..
        } = self;
        write!(
            f,
            "calls {calls}, claims {claims}, ticks {ticks}, lease {lease}, ttl {ttl}, \
             misfortunes {misfortunes}"
        )?;
        let switches = [
            (self.has_steps, "steps"),
            (self.loses_records, "record loss"),
            (self.at_most_once, "at most once"),
        ];
        for (_, name) in switches.iter().filter(|(is_on, _)| *is_on) {
            write!(f, ", {name}")?;
        }
        Ok(())
    }
}
