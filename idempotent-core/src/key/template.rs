//! Keys from a template literal.

use std::fmt;

use super::Redacted;
use super::escape::Escapes;
use super::part::{KeyPart, KeyText};

/// The key that `#[idempotent(key = "order-{id}:{line}")]` builds.
///
/// # Contract
///
/// Two different lists of values give different keys, if there is literal text between any two
/// placeholders. The reason: a literal `%` is written `%%`, and in a value every `%`, every control
/// character and every character that can follow a placeholder are escaped (`%3A`). Read from the
/// left, a value thus ends before the first `%%` or the first character that follows a
/// placeholder, and the literal text after it is known.
///
/// Other characters of the literal text are not escaped in a value. A UUID in `order-{id}` would
/// otherwise lose its `d` and `e`, and the key could no longer be searched for.
///
/// # Examples
///
/// ```
/// use idempotent_core::{Key, KeyTemplate};
///
/// // The template is "order-{id}:{line}".
/// let template = KeyTemplate::new(":").text("order-").value("A:7").text(":").value(&12);
/// let key = Key::of("orders.ship", &template)?;
/// assert_eq!(key.unwrap().value(), "order-A%3A7:12");
/// # Ok::<(), idempotent_core::KeyError>(())
/// ```
#[doc(hidden)]
#[must_use]
pub struct KeyTemplate {
    text: KeyText,
    escapes: Escapes,
    after_value: bool,
}

impl KeyTemplate {
    /// Starts the key of a template.
    ///
    /// `ends` has the first character of each piece of literal text that follows a placeholder, in
    /// any order. More characters do no harm but to the reader.
    pub fn new(ends: &'static str) -> Self {
        Self {
            text: KeyText::new(String::with_capacity(64)),
            escapes: Escapes::new(ends),
            after_value: false,
        }
    }

    /// Appends a piece of the literal text.
    pub fn text(mut self, piece: &'static str) -> Self {
        debug_assert!(
            !self.after_value || piece.starts_with(|c| self.escapes.contains(c)),
            "`new` must be given the character that follows a placeholder"
        );
        self.after_value = false;
        for (index, plain) in piece.split('%').enumerate() {
            if index > 0 {
                self.text.push_str("%%");
            }
            self.text.push_str(plain);
        }
        self
    }

    /// Appends the value of a placeholder.
    pub fn value(mut self, value: &(impl KeyPart + ?Sized)) -> Self {
        debug_assert!(!self.after_value, "two placeholders need text between them");
        self.after_value = true;
        self.text.push_part(value, self.escapes);
        self
    }
}

impl fmt::Debug for KeyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyTemplate")
            .field(&Redacted(self.text.as_str()))
            .finish()
    }
}

impl KeyPart for KeyTemplate {
    fn write_part(&self, text: &mut KeyText) {
        text.push_str(self.text.as_str());
    }
}
