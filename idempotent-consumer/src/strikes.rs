use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use idempotent_core::Key;

/// How many keys are remembered. To forget one only means that its message is tried for longer.
const KEYS: usize = 1_024;

/// How often this process has met records that it cannot read, and so cannot count in.
#[derive(Debug, Default)]
pub(crate) struct Strikes(Mutex<HashMap<Key, u32>>);

impl Strikes {
    /// Counts one more for `key`, and says how many there are.
    pub(crate) fn strike(&self, key: &Key) -> u32 {
        let mut strikes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if strikes.len() >= KEYS && !strikes.contains_key(key) {
            strikes.clear();
        }
        let count = strikes.entry(key.clone()).or_default();
        *count = count.saturating_add(1);
        *count
    }

    /// The message of `key` is put aside: another copy of it begins anew.
    pub(crate) fn forget(&self, key: &Key) {
        let mut strikes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        strikes.remove(key);
    }
}
