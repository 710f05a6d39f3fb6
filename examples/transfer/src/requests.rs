//! The requests: the same ones in every run.

use serde::Serialize;

/// How many accounts there are, and what is in each at first, in cents.
pub(crate) const ACCOUNTS: u64 = 10;
pub(crate) const OPENING: i64 = 100_000;

/// A wish to move money.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Request {
    /// The client's own number: what makes two requests the same.
    pub(crate) id: String,
    pub(crate) source: i64,
    pub(crate) target: i64,
    pub(crate) cents: i64,
}

impl Request {
    /// The request with this number.
    pub(crate) fn new(number: u64) -> Self {
        // As good as random, and the same again: Knuth's multiplicative hash.
        let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let source = mixed % ACCOUNTS;
        let target = (source + 1 + mixed / ACCOUNTS % (ACCOUNTS - 1)) % ACCOUNTS;
        let signed = |number: u64| i64::try_from(number).unwrap_or_default();
        Self {
            id: format!("transfer-{number}"),
            source: signed(source),
            target: signed(target),
            cents: signed(1 + mixed % 5_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_pays_himself() {
        for request in (0..1_000).map(Request::new) {
            assert_ne!(request.source, request.target, "{request:?}");
            assert!(request.cents > 0);
        }
    }
}
