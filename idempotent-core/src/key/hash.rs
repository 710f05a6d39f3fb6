//! Maps by key, which need no hash but the one that a key has.

use std::hash::{BuildHasherDefault, Hasher};

use super::Key;

/// The hasher of a map whose keys begin with a [`Key`].
pub(crate) type HashOfKey = BuildHasherDefault<Passing>;

/// Passes the hash of a [`Key`] on. What follows it tells apart what has the same key, and that is
/// left to equality.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Passing(u64);

impl Hasher for Passing {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, _: &[u8]) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Which of `shards` is `key`'s. A map within a shard looks at other bits of the hash.
pub(crate) fn shard(key: &Key, shards: usize) -> usize {
    usize::try_from(key.hash >> 32 & 0xffff).unwrap_or_default() % shards
}
