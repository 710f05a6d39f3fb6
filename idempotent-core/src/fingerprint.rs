//! The fingerprint: whether a retry asks for the same thing.

mod encode;
mod serializer;

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use self::encode::{Encoder, Entries};

/// The SHA-256 digest of the arguments of a call.
///
/// A key that comes back with another fingerprint was reused by mistake, and is refused instead of
/// answered with a result that belongs to other arguments.
///
/// # What is equal
///
/// A fingerprint is of what a value says through [`serde::Serialize`], in the form for human
/// readers, as JSON has it. Refactoring keeps it:
///
/// - Fields, map entries and arguments count by name, in any order. A struct equals a map, so
///   `#[serde(flatten)]` changes nothing. A field that is skipped is not there.
/// - Names of types do not count, and a newtype struct is what it wraps. A variant counts by its
///   name, not by its position.
/// - Integers of all types are equal if their values are, and `f32` is widened to `f64`. An integer
///   is never equal to a float.
/// - `-0.0` equals `0.0`, and every NaN equals every other.
/// - Lists, arrays, tuples and tuple structs are lists. A `char` is a string of one.
///
/// # What differs
///
/// Everything else, at any depth: `("ab", "c")` and `("a", "bc")`; `None`, `()`, an empty list and
/// a missing field; `Some(x)` and `x`; the integers 2^53 and 2^53 + 1; bytes and a list of integers;
/// a map that has an entry once and one that has it twice.
///
/// # Not stable
///
/// - **Sets.** A `HashSet` serializes as a list in an order of its own, and that it is a set cannot
///   be seen from outside: two equal ones differ. Use a `BTreeSet`, or leave the argument out. A
///   `HashMap` is fine.
/// - **Times and random values** that are made anew for each retry.
/// - **Arbitrary precision.** Numbers in a `serde_json::Value` have another fingerprint after any
///   crate of the build turns on the feature `arbitrary_precision`.
///
/// Renaming an argument or a field changes the fingerprint, and so does turning a field from `T`
/// into `Option<T>`. To add a field while calls are in flight, make it an `Option` with
/// `#[serde(skip_serializing_if = "Option::is_none")]`.
///
/// # Examples
///
/// ```
/// use idempotent_core::Fingerprint;
/// use serde::Serialize;
///
/// #[derive(Serialize)]
/// struct Order {
///     customer: u32,
///     items: Vec<&'static str>,
/// }
///
/// let first = Fingerprint::of(&Order { customer: 7, items: vec!["tea"] })?;
/// let retry = Fingerprint::of(&Order { customer: 7, items: vec!["tea"] })?;
/// let other = Fingerprint::of(&Order { customer: 7, items: vec!["tea", "tea"] })?;
/// assert_eq!(first, retry);
/// assert_ne!(first, other);
/// # Ok::<(), idempotent_core::FingerprintError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a call without arguments, which [`FingerprintBuilder`] returns if it is
    /// given none.
    pub const EMPTY: Self = Self([
        0x41, 0xa7, 0x51, 0x80, 0x00, 0xc6, 0xc4, 0x1c, 0x52, 0x4e, 0xcf, 0x24, 0x74, 0xf1, 0xad,
        0x74, 0x48, 0x25, 0xc3, 0xe5, 0xeb, 0xc4, 0x18, 0xd1, 0x9e, 0x55, 0x0a, 0xaa, 0x98, 0x0a,
        0x86, 0x26,
    ]);

    /// Returns the fingerprint of one value.
    ///
    /// It differs from that of a call with this value as its argument. A struct has the fingerprint
    /// of a call whose arguments are the struct's fields.
    ///
    /// # Errors
    ///
    /// Fails if `value` refuses to be serialized, as a `Mutex` does once it is poisoned.
    pub fn of<T>(value: &T) -> Result<Self, FingerprintError>
    where
        T: Serialize + ?Sized,
    {
        let mut encoder = Encoder::new();
        value
            .serialize(&mut encoder)
            .map_err(|error| FingerprintError::Value {
                source: error.into(),
            })?;
        Ok(Self(encoder.digest()))
    }

    /// Creates the fingerprint that a store kept.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads 64 hexadecimal digits, as [`Display`](fmt::Display) writes them.
    ///
    /// # Errors
    ///
    /// Fails on any other text.
    ///
    /// # Examples
    ///
    /// ```
    /// use idempotent_core::Fingerprint;
    ///
    /// let fingerprint = Fingerprint::of("tea")?;
    /// assert_eq!(Fingerprint::from_hex(&fingerprint.to_string())?, fingerprint);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_hex(text: &str) -> Result<Self, ParseFingerprintError> {
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
            return Err(ParseFingerprintError);
        };
        let pairs: &[[u8; 2]; 32] = pairs.try_into().map_err(|_| ParseFingerprintError)?;
        let mut bytes = [0; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = hex_digit(*high)? << 4 | hex_digit(*low)?;
        }
        Ok(Self(bytes))
    }

    /// Returns the bytes of the digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Writes 64 hexadecimal digits in lower case.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";

        // A formatter call for each byte would take longer than the digest.
        let mut hex = [[0; 2]; 32];
        for (digits, byte) in hex.iter_mut().zip(self.0) {
            *digits = [byte >> 4, byte & 0xf].map(|digit| DIGITS[usize::from(digit)]);
        }
        f.write_str(str::from_utf8(hex.as_flattened()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = ParseFingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_hex(text)
    }
}

/// Takes the fingerprint of a call, one argument after another.
///
/// # Examples
///
/// ```
/// use idempotent_core::FingerprintBuilder;
///
/// let fingerprint = |customer: u64, items: &[&str]| {
///     FingerprintBuilder::new().arg("customer", &customer).arg("items", items).finish()
/// };
/// assert_eq!(fingerprint(7, &["tea"])?, fingerprint(7, &["tea"])?);
/// assert_ne!(fingerprint(7, &["tea"])?, fingerprint(8, &["tea"])?);
/// # Ok::<(), idempotent_core::FingerprintError>(())
/// ```
#[must_use]
pub struct FingerprintBuilder {
    encoder: Encoder,
    arguments: Entries,
    first_error: Option<FingerprintError>,
}

impl FingerprintBuilder {
    /// Starts without an argument.
    pub fn new() -> Self {
        let mut encoder = Encoder::new();
        let arguments = encoder.begin_map();
        Self {
            encoder,
            arguments,
            first_error: None,
        }
    }

    /// Adds an argument.
    ///
    /// The order in which arguments are added does not matter, their names do. If `value` cannot be
    /// serialized, [`finish`](Self::finish) says so.
    pub fn arg<T>(mut self, name: &'static str, value: &T) -> Self
    where
        T: FingerprintArg + ?Sized,
    {
        if self.first_error.is_none() {
            let result = self.encoder.field(name, value);
            self.first_error = result
                .map_err(|error| FingerprintError::Argument {
                    name,
                    source: error.into(),
                })
                .err();
        }
        self
    }

    /// Returns the fingerprint of all arguments.
    ///
    /// # Errors
    ///
    /// Fails if an argument could not be serialized, and tells about the first of them.
    pub fn finish(mut self) -> Result<Fingerprint, FingerprintError> {
        if let Some(error) = self.first_error {
            return Err(error);
        }
        self.encoder.end_map(self.arguments);
        Ok(Fingerprint(self.encoder.digest()))
    }
}

/// Does not show the arguments.
impl fmt::Debug for FingerprintBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FingerprintBuilder").finish_non_exhaustive()
    }
}

impl Default for FingerprintBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// What can be an argument of a fingerprint: everything that is [`serde::Serialize`].
///
/// It exists for the message that the compiler shows for anything else.
///
/// ```compile_fail,E0277
/// use idempotent_core::FingerprintBuilder;
///
/// struct Database;
///
/// _ = FingerprintBuilder::new().arg("db", &Database);
/// ```
#[diagnostic::on_unimplemented(
    message = "an argument of type `{Self}` cannot be part of the fingerprint",
    label = "not `Serialize`",
    note = "leave it out with `skip(name)`, or derive `serde::Serialize`"
)]
pub trait FingerprintArg: Serialize {}

#[diagnostic::do_not_recommend]
impl<T> FingerprintArg for T where T: Serialize + ?Sized {}

/// Why there is no fingerprint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FingerprintError {
    /// An argument refused to be serialized.
    #[error("argument `{name}` cannot be serialized for the fingerprint")]
    Argument {
        /// The name of the argument.
        name: &'static str,
        /// What its `Serialize` said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The value refused to be serialized.
    #[error("the value cannot be serialized for the fingerprint")]
    Value {
        /// What its `Serialize` said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A text that is not a [`Fingerprint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint has 64 hexadecimal digits")]
#[non_exhaustive]
pub struct ParseFingerprintError;

const fn hex_digit(digit: u8) -> Result<u8, ParseFingerprintError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(ParseFingerprintError),
    }
}

#[cfg(test)]
mod tests;
