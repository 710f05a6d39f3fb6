//! The bytes that a fingerprint is the digest of.
//!
//! Every value is a tag and what belongs to it, and can be read back without knowing its type, so
//! that no two values have the same bytes:
//!
//! ```text
//! fingerprint = SHA-256(version value)
//!
//! value  = Unit | None | False | True
//!        | Some value
//!        | NonNegative number | Negative number        the number of -1 is 0, of -2 is 1
//!        | Float 8 bytes
//!        | text
//!        | Bytes size bytes | LongBytes size SHA-256(bytes)
//!        | List value* End
//!        | Map (value value)* End                      by the bytes of the key
//!        | UnitVariant text | Variant text value       the name, the content
//! text   = Text size bytes | LongText size SHA-256(bytes)
//! number = LEB128, at most 128 bits
//! size   = number
//! ```
//!
//! Structs are maps, tuples are lists, newtype structs are what they wrap.
//!
//! The bytes are gathered and hashed at once. They must be in memory anyway to bring the fields of
//! a struct into order, and one call of the hash is faster than many small ones. Long texts, which
//! could make this expensive, go into the hash without being copied.

use std::fmt::Display;
use std::ops::Range;

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Writes one value.
pub(super) struct Encoder {
    bytes: Vec<u8>,
    /// The entries of all open maps. Those of an inner map come after those of an outer one.
    entries: Vec<Entry>,
}

/// Where an entry of an open map is in `Encoder::bytes`.
struct Entry {
    key: Range<usize>,
    end: usize,
}

/// Which of `Encoder::entries` belong to a map.
pub(super) struct Entries {
    first: usize,
}

/// What kind of value comes next. The numbers are part of the encoding.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Tag {
    End,
    Unit,
    None,
    Some,
    False,
    True,
    NonNegative,
    Negative,
    Float,
    Text,
    LongText,
    Bytes,
    LongBytes,
    List,
    Map,
    UnitVariant,
    Variant,
}

impl Encoder {
    pub(super) fn new() -> Self {
        let mut bytes = Vec::with_capacity(TYPICAL_BYTES);
        bytes.push(VERSION);
        Self {
            bytes,
            entries: Vec::with_capacity(TYPICAL_ENTRIES),
        }
    }

    pub(super) fn digest(self) -> [u8; 32] {
        Sha256::digest(&self.bytes).into()
    }

    pub(super) fn tag(&mut self, tag: Tag) {
        self.bytes.push(tag as u8);
    }

    pub(super) fn integer(&mut self, value: i128) {
        if value < 0 {
            self.tag(Tag::Negative);
            self.number((!value).unsigned_abs());
        } else {
            self.unsigned(value.unsigned_abs());
        }
    }

    pub(super) fn unsigned(&mut self, value: u128) {
        self.tag(Tag::NonNegative);
        self.number(value);
    }

    pub(super) fn float(&mut self, value: f64) {
        let bits = if value.is_nan() {
            NAN_BITS
        } else if value == 0.0 {
            // Of either sign.
            0
        } else {
            value.to_bits()
        };
        self.tag(Tag::Float);
        self.bytes.extend_from_slice(&bits.to_be_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.string(Tag::Text, Tag::LongText, text.as_bytes());
    }

    pub(super) fn string(&mut self, short: Tag, long: Tag, bytes: &[u8]) {
        let is_short = bytes.len() <= SHORT_BYTES;
        self.tag(if is_short { short } else { long });
        self.number(bytes.len() as u128);
        if is_short {
            self.bytes.extend_from_slice(bytes);
        } else {
            self.bytes.extend_from_slice(&Sha256::digest(bytes));
        }
    }

    /// Begins a map, and returns what [`end_map`](Self::end_map) asks for.
    pub(super) fn begin_map(&mut self) -> Entries {
        self.tag(Tag::Map);
        Entries {
            first: self.entries.len(),
        }
    }

    /// Adds an entry to the innermost open map.
    pub(super) fn field<T>(&mut self, name: &str, value: &T) -> Result<(), EncodeError>
    where
        T: Serialize + ?Sized,
    {
        let start = self.bytes.len();
        self.text(name);
        let key = start..self.bytes.len();
        self.entry(key, value)
    }

    /// Writes a key, and returns where it is.
    pub(super) fn key<T>(&mut self, key: &T) -> Result<Range<usize>, EncodeError>
    where
        T: Serialize + ?Sized,
    {
        let start = self.bytes.len();
        key.serialize(&mut *self)?;
        Ok(start..self.bytes.len())
    }

    /// Adds an entry, whose key was written just before, to the innermost open map.
    pub(super) fn entry<T>(&mut self, key: Range<usize>, value: &T) -> Result<(), EncodeError>
    where
        T: Serialize + ?Sized,
    {
        value.serialize(&mut *self)?;
        self.entries.push(Entry {
            key,
            end: self.bytes.len(),
        });
        Ok(())
    }

    /// Brings the entries of the innermost open map into order, and closes it.
    ///
    /// Entries with the same key all stay, in the order in which they came.
    pub(super) fn end_map(&mut self, Entries { first }: Entries) {
        let bytes = &mut self.bytes;
        let entries = &mut self.entries[first..];
        if !entries.is_sorted_by_key(|entry| &bytes[entry.key.clone()]) {
            let unsorted = entries[0].key.start..bytes.len();
            entries.sort_by(|a, b| bytes[a.key.clone()].cmp(&bytes[b.key.clone()]));
            for entry in &*entries {
                bytes.extend_from_within(entry.key.start..entry.end);
            }
            bytes.copy_within(unsorted.end.., unsorted.start);
            bytes.truncate(unsorted.end);
        }
        self.entries.truncate(first);
        self.tag(Tag::End);
    }

    /// Writes seven bits at a time, the lowest first, each with a flag that says whether there are
    /// more.
    fn number(&mut self, mut number: u128) {
        loop {
            let [low, ..] = number.to_le_bytes();
            number >>= 7;
            if number == 0 {
                self.bytes.push(low);
                return;
            }
            self.bytes.push(low | 0x80);
        }
    }
}

/// What a `Serialize` said when it refused.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct EncodeError(String);

impl serde::ser::Error for EncodeError {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// The first byte of what is hashed. A change of the encoding would be mistaken for a change of the
/// arguments of calls in flight, so it needs another one and a good reason.
const VERSION: u8 = 1;

/// Longer texts are represented by their digests.
const SHORT_BYTES: usize = 1024;

/// The payload of a NaN has no meaning.
const NAN_BITS: u64 = 0x7ff8_0000_0000_0000;

/// Guesses that save reallocations.
const TYPICAL_BYTES: usize = 512;
const TYPICAL_ENTRIES: usize = 16;

#[cfg(test)]
mod tests;
