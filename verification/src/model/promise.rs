//! The promises, by the names that the protocol gives them.

/// A property of the protocol, or one that no protocol has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "each says what it is in its own words")]
#[non_exhaustive]
pub enum Promise {
    P1,
    P2,
    P3,
    P4,
    P5,
    P6,
    P7,
    P8,
    E1,
    E2,
}

impl Promise {
    const ALL: [Self; 10] = [
        Self::P1,
        Self::P2,
        Self::P3,
        Self::P4,
        Self::P5,
        Self::P6,
        Self::P7,
        Self::P8,
        Self::E1,
        Self::E2,
    ];

    pub(super) fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|promise| promise.text() == text)
    }

    /// Its short name, as in `P1`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.text().split(' ').next().unwrap_or_default()
    }

    /// What is promised.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::P1 => "P1 one completion per key and life",
            Self::P2 => "P2 all callers that get Ok get the same value",
            Self::P3 => "P3 an owner that was taken over never commits",
            Self::P4 => "P4 fences strictly rise",
            Self::P5 => "P5 attempt 1 means that nothing ran before in this life",
            Self::P6 => "P6 an Ok without a mark was recorded",
            Self::P7 => "P7 a recorded step is never run by a later attempt",
            Self::P8 => "P8 whoever calls after a silence of one lease can finish",
            Self::E1 => "E1 the effect happens at most once in a life",
            Self::E2 => "E2 no stale effect reaches a downstream",
        }
    }
}

/// The promises that have been broken.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Broken(u16);

impl Broken {
    pub(super) const fn add(&mut self, promise: Promise) {
        self.0 |= 1 << promise as u16;
    }

    pub(super) const fn forgive_effects(&mut self) {
        self.0 &= !(1 << Promise::E1 as u16 | 1 << Promise::E2 as u16);
    }

    pub(super) const fn has(self, promise: Promise) -> bool {
        self.0 & 1 << promise as u16 != 0
    }
}
