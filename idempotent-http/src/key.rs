//! The caller's key: where it stands in a request, and which texts can be one.

mod header;
mod source;

pub(crate) use self::header::{parse, write};
pub(crate) use self::source::Found;
pub use self::source::KeySource;

/// How the value of the header is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum KeySyntax {
    /// A quoted string, as the draft has it, or a bare value, as nearly every client sends it:
    /// printable ASCII without space, `"`, `,`, `;` and `\`. `"k"` and `k` are the same key.
    #[default]
    Lenient,
    /// A String of RFC 9651 and nothing else. Parameters are ignored.
    Strict,
}

/// Which keys are good enough.
#[derive(Clone, Debug)]
pub(crate) struct KeyRules {
    pub(crate) syntax: KeySyntax,
    pub(crate) lengths: std::ops::RangeInclusive<usize>,
    pub(crate) is_uuid: bool,
    pub(crate) is_valid: Option<fn(&str) -> bool>,
}

/// The longest key that can be allowed, in bytes.
pub(crate) const LONGEST: usize = 255;

impl Default for KeyRules {
    fn default() -> Self {
        Self {
            syntax: KeySyntax::default(),
            lengths: 1..=LONGEST,
            is_uuid: false,
            is_valid: None,
        }
    }
}

/// Why a text cannot be a key. It never holds the text.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// It has characters that cannot stand in a key.
    #[error(
        "the key must be printable ASCII, and within quotes if it has a space or one of `\",;\\`"
    )]
    Characters,

    /// It is there, but empty.
    #[error("the key is empty")]
    Empty,

    /// It has too few or too many characters.
    #[error("the key has {length} characters; {least} to {most} are allowed")]
    Length {
        /// Its length.
        length: usize,
        /// The fewest that are allowed.
        least: usize,
        /// The most that are allowed.
        most: usize,
    },

    /// It is not a String of RFC 9651.
    #[error("the key must be a quoted string, as in `\"8e03978e\"`")]
    NotAString,

    /// It is not a UUID.
    #[error("the key must be a UUID, as in `8e03978e-40d5-43e8-bc93-6894a57f9324`")]
    NotAUuid,

    /// The application does not take it.
    #[error("the key is not one that this service accepts")]
    Refused,

    /// There is more than one.
    #[error("there is more than one key; send one")]
    Repeated,
}

impl KeyRules {
    /// Whether `key` is good enough, whatever it was written like.
    pub(crate) fn check(&self, key: &str) -> Result<(), InvalidKey> {
        let (least, most) = (*self.lengths.start(), *self.lengths.end());
        let length = key.len();
        if length == 0 {
            return Err(InvalidKey::Empty);
        }
        if !key.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(InvalidKey::Characters);
        }
        if !self.lengths.contains(&length) {
            return Err(InvalidKey::Length {
                length,
                least,
                most,
            });
        }
        if self.is_uuid && !has_uuid_shape(key) {
            return Err(InvalidKey::NotAUuid);
        }
        match self.is_valid {
            Some(is_valid) if !is_valid(key) => Err(InvalidKey::Refused),
            Some(_) | None => Ok(()),
        }
    }
}

/// Whether `key` is 8-4-4-4-12 hexadecimal digits. Of any version: the keys that Stripe's client for
/// Python makes are not of a valid one.
fn has_uuid_shape(key: &str) -> bool {
    key.len() == 36
        && key.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests;
