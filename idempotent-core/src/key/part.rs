//! What can be a key, and what can be a part of one.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::num::{
    NonZeroI8, NonZeroI16, NonZeroI32, NonZeroI64, NonZeroI128, NonZeroIsize, NonZeroU8,
    NonZeroU16, NonZeroU32, NonZeroU64, NonZeroU128, NonZeroUsize,
};
use std::rc::Rc;
use std::sync::Arc;

use super::Redacted;
use super::escape::Escapes;

/// What can be the key of a call: any [`KeyPart`], or an `Option`.
///
/// `None` means that the caller has no key. The call then runs unprotected, with an event that
/// says so: all calls without a key would otherwise share one record.
///
/// Implement [`KeyPart`] for types of your own; this trait follows from it.
///
/// # Examples
///
/// ```
/// use idempotent_core::Key;
///
/// let header: Option<String> = Some("8e03978e".to_owned());
/// let key = Key::of("payments.charge", &header)?;
/// assert_eq!(key.unwrap().value(), "8e03978e");
/// # Ok::<(), idempotent_core::KeyError>(())
/// ```
///
/// A float is not a key:
///
/// ```compile_fail,E0277
/// # use idempotent_core::Key;
/// _ = Key::of("payments.charge", &9.99);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key",
    label = "not a key",
    note = "a key is text, an integer, `bool`, `char`, `Uuid` (feature `uuid`), a tuple of these, \
            an `Option` of one, or a type of your own that implements `KeyPart`",
    note = "a float cannot be a key: two equal amounts may differ in their last bit; use an \
            integer of minor units or text"
)]
pub trait IntoKey {
    /// Writes the value of the key to `text`, or nothing if there is none.
    fn write_key(&self, text: &mut KeyText) -> KeyValue;
}

/// Whether a key has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
#[expect(clippy::exhaustive_enums, reason = "there is no third answer")]
pub enum KeyValue {
    /// There is no key, and nothing was written.
    Missing,
    /// The whole value was written.
    Written,
}

/// What can be a part of a key: a member of a tuple or a placeholder of a template.
///
/// # Contract
///
/// Two different values of a type write two different texts. The type itself is not written: `7`
/// and `"7"` are the same key.
///
/// # Tuples
///
/// The parts are joined by `,`. In each part `%`, `,` and control characters are percent-escaped,
/// so two different tuples of a type have different texts. A tuple within a tuple is one part.
///
/// # Not a part
///
/// `Option` is not one, so that a missing part does not compile. Neither are floats.
///
/// ```compile_fail,E0277
/// # use idempotent_core::Key;
/// let tenant: Option<u64> = None;
/// _ = Key::of("orders.create", &(tenant, 12));
/// ```
///
/// # Examples
///
/// ```
/// use idempotent_core::{Key, KeyPart, KeyText};
///
/// struct OrderId(u64);
///
/// impl KeyPart for OrderId {
///     fn write_part(&self, text: &mut KeyText) {
///         self.0.write_part(text);
///     }
/// }
///
/// let key = Key::of("orders.cancel", &("acme", OrderId(7)))?;
/// assert_eq!(key.unwrap().value(), "acme,7");
/// # Ok::<(), idempotent_core::KeyError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a part of a key",
    label = "not a part of a key",
    note = "a part is text, an integer, `bool`, `char`, `Uuid` (feature `uuid`), a tuple of these, \
            or a type of your own that implements `KeyPart`",
    note = "an `Option` cannot be a part, only a whole key: decide what a missing part means",
    note = "a float cannot be a key: two equal amounts may differ in their last bit; use an \
            integer of minor units or text"
)]
pub trait KeyPart {
    /// Writes this part to `text`, unescaped.
    fn write_part(&self, text: &mut KeyText);
}

/// A text to which a key writes its value.
///
/// Nothing can be taken back from it, so a part cannot change the parts before it.
pub struct KeyText(String);

impl KeyText {
    pub(super) const fn new(text: String) -> Self {
        Self(text)
    }

    /// Appends `text`.
    pub fn push_str(&mut self, text: &str) {
        self.0.push_str(text);
    }

    /// Appends what `part` writes, escaped.
    pub(super) fn push_part(&mut self, part: &(impl KeyPart + ?Sized), escapes: Escapes) {
        let start = self.0.len();
        part.write_part(self);
        escapes.escape_from(&mut self.0, start);
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyText").field(&Redacted(&self.0)).finish()
    }
}

/// The key of an operation that exists once. [`Key::fixed`](super::Key::fixed) returns it.
#[derive(Clone, Copy)]
pub struct FixedKey(&'static str);

impl FixedKey {
    pub(super) const fn new(value: &'static str) -> Self {
        Self(value)
    }
}

impl fmt::Debug for FixedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FixedKey").field(&Redacted(self.0)).finish()
    }
}

impl<T> IntoKey for T
where
    T: KeyPart + ?Sized,
{
    fn write_key(&self, text: &mut KeyText) -> KeyValue {
        self.write_part(text);
        KeyValue::Written
    }
}

impl<K: IntoKey> IntoKey for Option<K> {
    fn write_key(&self, text: &mut KeyText) -> KeyValue {
        match self {
            Some(key) => key.write_key(text),
            None => KeyValue::Missing,
        }
    }
}

/// For an expression that is a reference already. References to parts are parts.
impl<K: IntoKey> IntoKey for &Option<K> {
    fn write_key(&self, text: &mut KeyText) -> KeyValue {
        (**self).write_key(text)
    }
}

impl KeyPart for str {
    fn write_part(&self, text: &mut KeyText) {
        text.push_str(self);
    }
}

impl KeyPart for String {
    fn write_part(&self, text: &mut KeyText) {
        text.push_str(self);
    }
}

impl KeyPart for char {
    fn write_part(&self, text: &mut KeyText) {
        text.0.push(*self);
    }
}

impl KeyPart for bool {
    fn write_part(&self, text: &mut KeyText) {
        text.push_str(if *self { "true" } else { "false" });
    }
}

impl KeyPart for FixedKey {
    fn write_part(&self, text: &mut KeyText) {
        text.push_str(self.0);
    }
}

#[cfg(feature = "uuid")]
impl KeyPart for uuid::Uuid {
    fn write_part(&self, text: &mut KeyText) {
        text.push_str(self.hyphenated().encode_lower(&mut Self::encode_buffer()));
    }
}

impl<T> KeyPart for Cow<'_, T>
where
    T: KeyPart + ToOwned + ?Sized,
{
    fn write_part(&self, text: &mut KeyText) {
        (**self).write_part(text);
    }
}

macro_rules! pointer_parts {
    ($($pointer:ty),+) => {$(
        impl<T> KeyPart for $pointer
        where
            T: KeyPart + ?Sized,
        {
            fn write_part(&self, text: &mut KeyText) {
                (**self).write_part(text);
            }
        }
    )+};
}

pointer_parts!(&T, &mut T, Arc<T>, Box<T>, Rc<T>);

macro_rules! integer_parts {
    ($($integer:ty),+ $(,)?) => {$(
        impl KeyPart for $integer {
            fn write_part(&self, text: &mut KeyText) {
                // Writing a number to a string does not fail.
                _ = write!(text.0, "{self}");
            }
        }
    )+};
}

integer_parts!(
    i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize
);
integer_parts!(
    NonZeroI8,
    NonZeroI16,
    NonZeroI32,
    NonZeroI64,
    NonZeroI128,
    NonZeroIsize,
    NonZeroU8,
    NonZeroU16,
    NonZeroU32,
    NonZeroU64,
    NonZeroU128,
    NonZeroUsize,
);

macro_rules! tuple_parts {
    ($($type:ident $index:tt),+) => {
        impl<$($type: KeyPart),+> KeyPart for ($($type,)+) {
            fn write_part(&self, text: &mut KeyText) {
                $(
                    if $index > 0 {
                        text.push_str(",");
                    }
                    text.push_part(&self.$index, TUPLE_ESCAPES);
                )+
            }
        }
    };
}

tuple_parts!(A 0);
tuple_parts!(A 0, B 1);
tuple_parts!(A 0, B 1, C 2);
tuple_parts!(A 0, B 1, C 2, D 3);
tuple_parts!(A 0, B 1, C 2, D 3, E 4);
tuple_parts!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple_parts!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple_parts!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);

const TUPLE_ESCAPES: Escapes = Escapes::new(",");
