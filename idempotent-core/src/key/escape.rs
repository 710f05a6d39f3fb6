//! Percent-escapes, which keep texts apart that are written one after another.

use std::borrow::Cow;

/// The characters that are escaped: `%`, the control characters, and those of a given text.
///
/// An escaped text has none of these characters but `%`, and each of its `%` begins the escape of
/// one byte (`%2C`). So it can be read back, and a separator written beside it is found again.
#[derive(Clone, Copy)]
pub(super) struct Escapes {
    separators: &'static str,
}

impl Escapes {
    pub(super) const fn new(separators: &'static str) -> Self {
        Self { separators }
    }

    pub(super) fn contains(self, c: char) -> bool {
        c == '%' || c.is_control() || self.separators.contains(c)
    }

    /// Escapes the part of `text` that begins at `start`.
    pub(super) fn escape_from(self, text: &mut String, start: usize) {
        if !self.may_be_in(&text.as_bytes()[start..]) {
            return;
        }
        let raw = text.split_off(start);
        for c in raw.chars() {
            if self.contains(c) {
                push_escaped(text, c);
            } else {
                text.push(c);
            }
        }
    }

    /// Whether one of the characters may be in `bytes`: to pass over most texts quickly, which is done
    /// by looking at all bytes alike, rather than at one after another. Only texts beyond ASCII need a
    /// second look.
    fn may_be_in(self, bytes: &[u8]) -> bool {
        any(bytes, |byte| byte == b'%' || !matches!(byte, b' '..=b'~'))
            || self
                .separators
                .bytes()
                .any(|separator| any(bytes, |byte| byte == separator))
    }
}

fn any(bytes: &[u8], is: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(false, |any, byte| any | is(*byte))
}

fn push_escaped(text: &mut String, c: char) {
    const HEX: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];

    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        text.push('%');
        text.push(HEX[usize::from(byte >> 4)]);
        text.push(HEX[usize::from(byte & 0xf)]);
    }
}

/// Undoes every escape, or returns `None` if a `%` is not followed by two hexadecimal digits, or
/// if the bytes are not UTF-8.
pub(super) fn unescape(text: &str) -> Option<Cow<'_, str>> {
    let Some((plain, mut rest)) = text.split_once('%') else {
        return Some(Cow::Borrowed(text));
    };
    let mut bytes = plain.as_bytes().to_vec();
    loop {
        let (digits, tail) = rest.split_at_checked(2)?;
        // `from_str_radix` alone would take `+5`.
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        let Some((plain, next)) = tail.split_once('%') else {
            bytes.extend_from_slice(tail.as_bytes());
            return String::from_utf8(bytes).ok().map(Cow::Owned);
        };
        bytes.extend_from_slice(plain.as_bytes());
        rest = next;
    }
}
