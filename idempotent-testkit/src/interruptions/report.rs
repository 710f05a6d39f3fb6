use std::fmt::{self, Debug, Write};

use crate::faults::Op;

/// Where, and how, a function was stopped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Interruption {
    /// The caller dropped the future after so many polls, and the process went on.
    CallerGone {
        /// How often the future was polled.
        polls: usize,
    },
    /// The process died after so many polls.
    Crash {
        /// How often the future was polled.
        polls: usize,
    },
    /// The process died after the store had done what it was asked, and before it heard of that.
    CrashAfter {
        /// Which call of the store, from 1.
        call: usize,
    },
    /// The process died before its call got through to the store.
    CrashBefore {
        /// Which call of the store, from 1.
        call: usize,
    },
    /// The function was not stopped.
    None,
    /// The store did what it was asked, and its reply was lost.
    ReplyLost {
        /// Which call of the store, from 1.
        call: usize,
    },
    /// The store failed, and did nothing.
    StoreFails {
        /// Which call of the store, from 1.
        call: usize,
    },
}

/// What came of stopping a function at one point.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Point<T> {
    /// How it was stopped.
    pub interruption: Interruption,
    /// How often the effect happened, in all calls together.
    pub effects: usize,
    /// What the calls returned, in their order; errors as their `Debug` shows them. The first one is
    /// not among them if it was stopped.
    pub returned: Vec<Result<T, String>>,
    /// What the first call asked the store.
    pub asked: Vec<Op>,
}

impl<T> Point<T> {
    pub(super) fn new(interruption: Interruption, asked: Vec<Op>) -> Self {
        Self {
            interruption,
            effects: 0,
            returned: Vec::new(),
            asked,
        }
    }

    /// Whether there was an answer, and the call after it got one, too.
    pub(super) fn is_replayed(&self) -> bool {
        matches!(self.returned.as_slice(), [.., Ok(_), Ok(_)])
    }

    /// The values that the calls returned.
    pub fn answers(&self) -> impl Iterator<Item = &T> {
        self.returned
            .iter()
            .filter_map(|result| result.as_ref().ok())
    }

    /// Which of the store's methods the interruption is about.
    fn op(&self, call: usize) -> impl fmt::Display {
        let op = self.asked.get(call - 1).map(|op| format!("{op:?}"));
        format!("store call {call} ({})", op.unwrap_or_default())
    }
}

/// As in `the process dies before store call 2 (Complete): 2 effects, ..`.
impl<T: Debug> fmt::Display for Point<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.interruption {
            Interruption::CallerGone { polls } => write!(f, "the caller goes after poll {polls}")?,
            Interruption::Crash { polls } => write!(f, "the process dies after poll {polls}")?,
            Interruption::CrashAfter { call } => {
                write!(f, "the process dies after {}", self.op(call))?;
            }
            Interruption::CrashBefore { call } => {
                write!(f, "the process dies before {}", self.op(call))?;
            }
            Interruption::None => write!(f, "nothing happens")?,
            Interruption::ReplyLost { call } => {
                write!(f, "the reply to {} is lost", self.op(call))?;
            }
            Interruption::StoreFails { call } => write!(f, "{} fails", self.op(call))?,
        }
        write!(f, ": {} effects, {:?}", self.effects, self.returned)
    }
}

/// What came of stopping a function everywhere. Its `Display` is a list of all points.
#[derive(Clone, Debug)]
pub struct Report<T> {
    points: Vec<Point<T>>,
}

impl<T: Debug + PartialEq> Report<T> {
    pub(super) const fn new(points: Vec<Point<T>>) -> Self {
        Self { points }
    }

    /// Every point at which the function was stopped. At the first, it was not.
    #[must_use]
    pub fn points(&self) -> &[Point<T>] {
        &self.points
    }

    /// How often the effect happened where it happened most often.
    #[must_use]
    pub fn most_effects(&self) -> usize {
        self.points
            .iter()
            .map(|point| point.effects)
            .max()
            .unwrap_or_default()
    }

    /// Asserts that the effect never happened more often than this.
    ///
    /// # Panics
    ///
    /// If it did. The message lists where.
    #[track_caller]
    pub fn assert_at_most(&self, effects: usize) {
        self.all("the effect happened too often", |point| {
            point.effects <= effects
        });
    }

    /// Asserts that wherever the function was stopped, a later call was answered.
    ///
    /// # Panics
    ///
    /// If there was none. The message lists where.
    #[track_caller]
    pub fn assert_answered(&self) {
        self.all("no call was answered", |point| {
            point.answers().next().is_some()
        });
    }

    /// Asserts that at no point two calls were answered differently.
    ///
    /// # Panics
    ///
    /// If there were two such. The message lists where.
    #[track_caller]
    pub fn assert_same_answers(&self) {
        self.all("two calls were answered differently", |point| {
            let mut answers = point.answers();
            answers
                .next()
                .is_none_or(|first| answers.all(|answer| answer == first))
        });
    }

    #[track_caller]
    fn all(&self, otherwise: &str, holds: impl Fn(&Point<T>) -> bool) {
        let mut message = String::new();
        for point in self.points.iter().filter(|point| !holds(point)) {
            _ = write!(message, "\n  {point}");
        }
        assert!(message.is_empty(), "{otherwise}:{message}");
    }
}

impl<T: Debug> fmt::Display for Report<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.points
            .iter()
            .try_for_each(|point| writeln!(f, "{point}"))
    }
}
