//! A step as a record keeps it: a line that says which it is, and its value.
//!
//! ```text
//! 1 <place> <codec> <version of the program>\n<value>
//! ```

use bytes::Bytes;

use super::StepError;
use crate::codec::CodecId;
use crate::error::Error;
use crate::fingerprint::Fingerprint;
use crate::record::{Payload, Step};

/// The format of the line, and of all that follows it.
const FORMAT: &str = "1";

/// What the names of entries begin with that the user has not named. No step's name may.
const RESERVED: char = '$';
const INPUT: &str = "$input:";
const PATCH: &str = "$patch:";

/// The longest name of a step, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// A step that has finished.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    /// How many steps were built before it.
    pub(crate) place: u32,
    /// Of the program that recorded it.
    pub(crate) version: String,
    pub(crate) payload: Payload,
}

impl Entry {
    /// As a record keeps it under `name`.
    pub(crate) fn to_step(&self, name: &str) -> Step {
        let Self {
            place,
            version,
            payload,
        } = self;
        let codec = payload.codec.as_u16();
        let mut value = format!("{FORMAT} {place} {codec} {version}\n").into_bytes();
        value.extend_from_slice(&payload.bytes);
        Step {
            name: name.to_owned(),
            value: value.into(),
        }
    }

    /// What a record has kept as `value`.
    pub(crate) fn read(value: &Bytes) -> Result<Self, Error> {
        Self::parse(value)
            .ok_or_else(|| Error::Incompatible("a recorded step is not of a known format".into()))
    }

    fn parse(value: &Bytes) -> Option<Self> {
        let end = value.iter().position(|byte| *byte == b'\n')?;
        let line = std::str::from_utf8(&value[..end]).ok()?;
        let mut words = line.splitn(4, ' ');
        if words.next()? != FORMAT {
            return None;
        }
        let place = words.next()?.parse().ok()?;
        let codec = CodecId::new(words.next()?.parse().ok()?)?;
        let version = words.next()?.to_owned();
        let bytes = value.slice(end + 1..);
        let payload = Payload { codec, bytes };
        Some(Self {
            place,
            version,
            payload,
        })
    }
}

/// Refuses a name that a step cannot have.
pub(super) fn check_name(name: &str) -> Result<(), StepError> {
    if name.is_empty()
        || name.len() > MAX_NAME_BYTES
        || name.starts_with(RESERVED)
        || name.chars().any(char::is_control)
    {
        let step = name.to_owned();
        return Err(StepError::InvalidName { step });
    }
    Ok(())
}

/// Under which name the arguments of a call with this `fingerprint` are kept. Those of another call,
/// which came before it and has done nothing, are not its own.
pub(crate) fn input_name(fingerprint: Fingerprint) -> String {
    let bytes = &fingerprint.as_bytes()[..8];
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    format!("{INPUT}{}", digits.collect::<String>())
}

/// Under which name it is kept that a run goes the way of the change `id`.
pub(super) fn patch_name(id: &str) -> String {
    format!("{PATCH}{id}")
}

/// Whether an entry of this name has a place among the steps, as all have but the arguments.
pub(super) fn has_place(name: &str) -> bool {
    !name.starts_with(INPUT)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_entry_survives_its_text(
            place in any::<u32>(), codec in 0..=999_u16, version in "[^\n]*", bytes in any::<Vec<u8>>(),
        ) {
            let codec = CodecId::new(codec).unwrap();
            let payload = Payload { codec, bytes: bytes.into() };
            let entry = Entry { place, version, payload };
            prop_assert_eq!(Entry::read(&entry.to_step("charge").value).unwrap(), entry);
        }

        #[test]
        fn what_is_no_entry_is_an_error(bytes in any::<Vec<u8>>()) {
            let bytes = Bytes::from(bytes);
            if let Ok(entry) = Entry::read(&bytes) {
                prop_assert_eq!(entry.to_step("charge").value, bytes);
            }
        }
    }

    #[test]
    fn names_that_no_step_can_have_are_refused() {
        let long = "x".repeat(MAX_NAME_BYTES + 1);
        for name in ["", "$input", "two\nlines", &long] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        check_name("charge the card[3]").unwrap();
    }
}
