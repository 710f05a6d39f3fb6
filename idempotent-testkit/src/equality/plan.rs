use std::fmt;
use std::time::Duration;

use idempotent_core::Ending;
use idempotent_core::protocol::{Failures, ReleaseMode};

/// How many calls take part in a sequence.
const CALLS: usize = 4;

/// What to do, in terms that mean something whatever the store answers, so that a plan from which
/// an action was taken is still a plan.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) calls: Vec<Call>,
    pub(super) actions: Vec<Action>,
}

/// One caller's wishes, the same for all its tries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) arguments: &'static str,
    pub(super) lease: Duration,
    pub(super) keep: Duration,
    pub(super) ttl: Duration,
    pub(super) at_most_once: bool,
    pub(super) wait: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Claim {
        call: usize,
    },
    Complete {
        by: Pick,
        result: &'static str,
        failed: bool,
        ttl: Duration,
    },
    Delete,
    Pass(Duration),
    RecordStep {
        by: Pick,
        name: &'static str,
        value: &'static str,
        lease: Duration,
    },
    Release {
        by: Pick,
        with_fence: bool,
        ending: Ending,
        mode: ReleaseMode,
        failures: Failures,
    },
    Renew {
        by: Pick,
        lease: Duration,
    },
}

/// One of the grants so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pick {
    /// 0 is the last one.
    pub(super) back: usize,
    pub(super) forged: Forged,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Forged {
    Fence,
    No,
    Owner,
}

impl Plan {
    /// The plan with this number. `unit` is a time that the store can tell from zero.
    pub(super) fn random(seed: u64, number: usize, length: usize, unit: Duration) -> Self {
        let mut random = Random::new(seed, number);
        let calls = (0..CALLS).map(|_| random.call(unit)).collect();
        let actions = (0..length).map(|_| random.action(unit)).collect();
        Self { calls, actions }
    }

    pub(super) fn len(&self) -> usize {
        self.actions.len()
    }

    pub(super) fn truncate(&mut self, length: usize) {
        self.actions.truncate(length);
    }

    /// This plan but for some actions from `start` on.
    pub(super) fn without(&self, start: usize, actions: usize) -> Self {
        let mut plan = self.clone();
        plan.actions.drain(start..self.len().min(start + actions));
        plan
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, call) in self.calls.iter().enumerate() {
            let is_used =
                |action: &Action| matches!(action, Action::Claim { call } if *call == number);
            if self.actions.iter().any(is_used) {
                writeln!(f, "  call {number}: {call:?}")?;
            }
        }
        self.actions
            .iter()
            .try_for_each(|action| writeln!(f, "  {action:?}"))
    }
}

/// A generator of which nothing is asked but to be the same everywhere (`SplitMix64`).
struct Random(u64);

impl Random {
    fn new(seed: u64, number: usize) -> Self {
        let mut random = Self(seed);
        let stream = random.next() ^ number as u64;
        Self(stream)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("below a usize")
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn units(&mut self, unit: Duration, choices: &[u32]) -> Duration {
        unit * self.of(choices)
    }

    fn call(&mut self, unit: Duration) -> Call {
        Call {
            arguments: if self.one_in(5) {
                "4 apples"
            } else {
                "3 apples"
            },
            lease: self.units(unit, &[1, 2, 3]),
            keep: self.units(unit, &[2, 4, 8, 50]),
            ttl: self.units(unit, &[2, 4, 8]),
            at_most_once: self.one_in(4),
            wait: self.one_in(3),
        }
    }

    fn action(&mut self, unit: Duration) -> Action {
        match self.below(16) {
            0..5 => Action::Claim {
                call: self.below(CALLS),
            },
            5 | 6 => Action::Complete {
                by: self.pick(),
                result: self.of(&["paid", "paid", "paid twice"]),
                failed: self.one_in(4),
                ttl: self.units(unit, &[2, 4, 8]),
            },
            7 | 8 => Action::RecordStep {
                by: self.pick(),
                name: self.of(&["charge", "book"]),
                value: self.of(&["one", "two", ""]),
                lease: self.units(unit, &[1, 2, 3]),
            },
            9 | 10 => Action::Release {
                by: self.pick(),
                with_fence: !self.one_in(4),
                ending: self.of(&Ending::ALL),
                mode: self.of(&[
                    ReleaseMode::Free,
                    ReleaseMode::Free,
                    ReleaseMode::Hold,
                    ReleaseMode::Note,
                ]),
                failures: self.of(&Failures::ALL),
            },
            11 => Action::Renew {
                by: self.pick(),
                lease: self.units(unit, &[1, 2, 3]),
            },
            12 if self.one_in(2) => Action::Delete,
            _ => Action::Pass(self.pause(unit)),
        }
    }

    /// Mostly the last grant. The one before it is what a late owner holds.
    fn pick(&mut self) -> Pick {
        let back = self.of(&[0, 0, 0, 0, 1, 1, 2]);
        let forged = match self.below(12) {
            0 => Forged::Fence,
            1 => Forged::Owner,
            _ => Forged::No,
        };
        Pick { back, forged }
    }

    /// Whole units meet leases and ttls exactly at their end, the others just before or after it.
    fn pause(&mut self, unit: Duration) -> Duration {
        let micro = Duration::from_micros(1);
        match self.below(6) {
            0 => micro,
            1 => unit.saturating_sub(micro),
            2 | 3 => unit,
            4 => unit * 2,
            _ => self.units(unit, &[3, 5, 8]),
        }
    }
}
