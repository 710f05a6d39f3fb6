//! Values, read back from a key as the documentation of keys says.

/// What is left of a key.
pub struct Reader<'a>(pub &'a str);

impl Reader<'_> {
    /// Takes `text` off the beginning.
    ///
    /// # Panics
    ///
    /// If something else is there.
    pub fn skip(&mut self, text: &str) {
        self.0 = self.0.strip_prefix(text).expect("the literal text");
    }

    /// Takes a value off, which goes on until the first `%%` or the first of `ends`.
    ///
    /// # Panics
    ///
    /// If it has anything else that is not escaped.
    pub fn value(&mut self, ends: &str) -> String {
        let mut bytes = Vec::new();
        while let Some(c) = self.0.chars().next() {
            if self.0.starts_with("%%") || c != '%' && ends.contains(c) {
                break;
            }
            assert!(!c.is_control(), "a control character is escaped");
            let (taken, rest) = self.0.split_at(if c == '%' { 3 } else { c.len_utf8() });
            match taken.strip_prefix('%') {
                Some(digits) => bytes.push(u8::from_str_radix(digits, 16).expect("two digits")),
                None => bytes.extend_from_slice(taken.as_bytes()),
            }
            self.0 = rest;
        }
        String::from_utf8(bytes).expect("the escapes of a text")
    }
}
