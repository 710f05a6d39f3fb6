//! Who holds a key: the owner's secret, and the grant's public number.

use std::fmt;
use std::str::FromStr;

use crate::clock::Timestamp;
use crate::error::BoxError;

/// The secret by which a call proves that a claim is its own: 128 random bits from the operating
/// system, fresh for every call.
///
/// Never derived from a seed, a process id or a host's name: two containers may share all of them.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Owner([u8; 16]);

impl Owner {
    /// Draws a fresh owner.
    ///
    /// # Errors
    ///
    /// If the operating system has no randomness to give.
    pub fn random() -> Result<Self, BoxError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The owner with these bytes, as a store has kept them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes to keep.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// 32 lower-case hexadecimal digits, for stores that keep text.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The first two bytes only: enough to tell two owners apart, too little to be one.
impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owner({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

/// A text that is not 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an owner is 32 hexadecimal digits")]
pub struct ParseOwnerError;

impl FromStr for Owner {
    type Err = ParseOwnerError;

    fn from_str(text: &str) -> Result<Self, ParseOwnerError> {
        let digits = text.as_bytes();
        if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(ParseOwnerError);
        }
        let bits = u128::from_str_radix(text, 16).map_err(|_| ParseOwnerError)?;
        Ok(Self(bits.to_be_bytes()))
    }
}

/// The number of a grant. It rises strictly for as long as a record lives, and still rises when
/// the store has lost the record in between, provided that no two grants of one key fall into the same
/// microsecond around the loss.
///
/// A downstream that remembers the highest fence it has seen can refuse a late owner. The number is
/// the grant's time in microseconds, or the previous fence plus one where that is higher, so it
/// stays below 2^53 and survives every language's numbers.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Fence(u64);

impl Fence {
    /// One past the highest fence there can be: 2^53.
    pub const LIMIT: u64 = 1 << 53;

    /// The fence with this number, as a store has kept it.
    #[must_use]
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The fence of a grant made at `now`, after `previous`. It rises no more where numbers end.
    #[must_use]
    pub fn next(previous: Option<Self>, now: Timestamp) -> Self {
        let after = previous.map_or(0, |previous| previous.0.saturating_add(1));
        Self(now.as_micros().max(after))
    }

    /// When the grant was made, unless the store's clock has stepped back since.
    #[must_use]
    pub const fn granted_at(self) -> Timestamp {
        Timestamp::from_micros(self.0)
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_survives_its_text() {
        let owner = Owner::random().unwrap();
        assert_eq!(owner.to_string().parse(), Ok(owner));
        assert_eq!(
            "+0000000000000000000000000000000".parse::<Owner>(),
            Err(ParseOwnerError)
        );
    }

    #[test]
    fn debug_does_not_give_the_secret_away() {
        let owner = Owner::random().unwrap();
        assert!(!format!("{owner:?}").contains(&owner.to_string()[4..]));
    }

    #[test]
    fn fences_rise_even_when_the_clock_steps_back() {
        let first = Fence::next(None, Timestamp::from_micros(1_000));
        let second = Fence::next(Some(first), Timestamp::from_micros(10));
        assert!(second > first);
    }

    #[test]
    fn a_fence_after_the_last_number_is_the_last_number() {
        let last = Fence::from_u64(u64::MAX);
        assert_eq!(Fence::next(Some(last), Timestamp::default()), last);
    }
}
