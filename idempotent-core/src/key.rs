//! The key: which operation, and which call of it.

mod escape;
mod hash;
mod part;
mod template;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, LazyLock};

use self::escape::Escapes;
pub(crate) use self::hash::{HashOfKey, shard};
pub use self::part::{FixedKey, IntoKey, KeyPart, KeyText, KeyValue};
pub use self::template::KeyTemplate;

/// The name under which a store keeps the record of one call: a scope and the caller's value.
///
/// The scope says which operation the value belongs to, so that `refund` never returns what
/// `charge` recorded for the same order number.
///
/// # Stored text
///
/// [`as_str`](Self::as_str) is `scope/value`. In the scope, `%`, `/` and control characters are
/// percent-escaped (`%2F`), so the first `/` ends the scope and no two pairs of scope and value
/// have the same text. The value stands as it is. Two keys are equal if their bytes are: letter
/// case, white space and Unicode normalization all count.
///
/// The text is free of control characters: some stores refuse NUL, and a line break garbles a
/// listing. A value with one is [an error](KeyError::ControlCharacter), unless it is a [`KeyPart`]
/// of a tuple or a template, where it is escaped.
///
/// # Limits
///
/// A value has 1 to [`MAX_VALUE_BYTES`](Self::MAX_VALUE_BYTES) bytes, a scope 1 to
/// [`MAX_SCOPE_BYTES`](Self::MAX_SCOPE_BYTES) before it is escaped. The stored text is thus at most
/// 1278 bytes, short enough for an index of any store. Longer ones are an error rather than a
/// hash, which nobody could read or look up.
///
/// # Clone
///
/// Cloning is cheap: the clones share one text.
///
/// # Examples
///
/// ```
/// use idempotent_core::Key;
///
/// let key = Key::new("orders.create", "customer-7/request-12")?;
/// assert_eq!(key.as_str(), "orders.create/customer-7/request-12");
/// assert_eq!(key.scope(), "orders.create");
/// assert_eq!(key.value(), "customer-7/request-12");
/// # Ok::<(), idempotent_core::KeyError>(())
/// ```
#[derive(Clone)]
pub struct Key {
    text: Arc<str>,
    /// Taken once: every map on a call's way asks for it. Secret, so that nobody can choose keys
    /// that meet in one place of a map.
    hash: u64,
}

impl Key {
    /// The longest value, in bytes.
    pub const MAX_VALUE_BYTES: usize = 512;

    /// The longest scope, in bytes before it is escaped.
    pub const MAX_SCOPE_BYTES: usize = 255;

    /// Creates the key for `value` in `scope`.
    ///
    /// # Errors
    ///
    /// Fails if the scope or the value is empty or too long, or if the value has a control
    /// character.
    pub fn new(scope: &str, value: &str) -> Result<Self, KeyError> {
        let mut text = scope_text(scope, value.len())?;
        check_value(value)?;
        text.push_str(value);
        Ok(Self::from_text(&text))
    }

    fn from_text(text: &str) -> Self {
        static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

        Self {
            text: text.into(),
            hash: HASHER.hash_one(text),
        }
    }

    /// Creates the key for whatever can be a key, or `None` if the key is missing.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    ///
    /// # Examples
    ///
    /// ```
    /// use idempotent_core::Key;
    ///
    /// let key = Key::of("orders.create", &("acme, Ltd.", 12))?;
    /// assert_eq!(key.unwrap().value(), "acme%2C Ltd.,12");
    ///
    /// let missing: Option<&str> = None;
    /// assert_eq!(Key::of("orders.create", &missing)?, None);
    /// # Ok::<(), idempotent_core::KeyError>(())
    /// ```
    pub fn of<K>(scope: &str, key: &K) -> Result<Option<Self>, KeyError>
    where
        K: IntoKey + ?Sized,
    {
        let mut text = KeyText::new(scope_text(scope, TYPICAL_VALUE_BYTES)?);
        let value = text.len();
        match key.write_key(&mut text) {
            KeyValue::Missing => Ok(None),
            KeyValue::Written => {
                let text = text.into_string();
                check_value(&text[value..])?;
                Ok(Some(Self::from_text(&text)))
            }
        }
    }

    /// Reads a key back from the text that a store kept.
    ///
    /// # Errors
    ///
    /// Fails unless `text` is exactly what [`as_str`](Self::as_str) of some key returns.
    ///
    /// # Examples
    ///
    /// ```
    /// use idempotent_core::Key;
    ///
    /// let key = Key::new("a/b", "c")?;
    /// assert_eq!(key.as_str(), "a%2Fb/c");
    /// assert_eq!(Key::parse("a%2Fb/c")?, key);
    /// # Ok::<(), idempotent_core::KeyError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (scope, value) = text.split_once('/').ok_or(KeyError::Malformed)?;
        let scope = escape::unescape(scope).ok_or(KeyError::Malformed)?;
        let key = Self::new(&scope, value)?;
        // Another spelling of the same scope (`%2f`, `%41`) would be a second text for one key.
        if key.as_str() == text {
            Ok(key)
        } else {
            Err(KeyError::Malformed)
        }
    }

    /// Returns the key of an operation that exists once, such as a migration.
    ///
    /// # Examples
    ///
    /// ```
    /// use idempotent_core::Key;
    ///
    /// let key = Key::of("migrations", &Key::fixed("2024-11-backfill"))?;
    /// assert_eq!(key.unwrap().as_str(), "migrations/2024-11-backfill");
    /// # Ok::<(), idempotent_core::KeyError>(())
    /// ```
    #[must_use]
    pub const fn fixed(value: &'static str) -> FixedKey {
        FixedKey::new(value)
    }

    /// Returns the text under which a store keeps the record.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the scope, as it was before it was escaped.
    #[must_use]
    pub fn scope(&self) -> Cow<'_, str> {
        let (scope, _) = self.split();
        // A `Key` holds what `escape` wrote, and `parse` checked that it does.
        escape::unescape(scope).unwrap_or(Cow::Borrowed(scope))
    }

    /// Returns the caller's value.
    #[must_use]
    pub fn value(&self) -> &str {
        self.split().1
    }

    fn split(&self) -> (&str, &str) {
        self.text
            .split_once('/')
            .expect("the first slash ends the scope")
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.text == other.text
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Shows the scope and the length of the value, not the value, which may be personal data.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("scope", &self.scope())
            .field("value", &Redacted(self.value()))
            .finish()
    }
}

/// Why a text cannot be a key.
///
/// No variant holds the scope or the value: errors are logged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The value has a control character.
    #[error("the key has a control character at byte {at}; as a part of a tuple it is escaped")]
    ControlCharacter {
        /// The position of the first one, in bytes.
        at: usize,
    },
    /// The value is empty.
    #[error("the key is empty")]
    Empty,
    /// The scope is empty.
    #[error("the scope of the key is empty")]
    EmptyScope,
    /// The text did not come from [`Key::as_str`].
    #[error("the stored text is not a key")]
    Malformed,
    /// The scope is longer than [`Key::MAX_SCOPE_BYTES`].
    #[error("the scope of the key has {bytes} bytes, {limit} are allowed")]
    ScopeTooLong {
        /// The length of the scope.
        bytes: usize,
        /// The longest length that is allowed.
        limit: usize,
    },
    /// The value is longer than [`Key::MAX_VALUE_BYTES`].
    #[error("the key has {bytes} bytes, {limit} are allowed")]
    TooLong {
        /// The length of the value.
        bytes: usize,
        /// The longest length that is allowed.
        limit: usize,
    },
}

/// Stands for a text in the output of `Debug`.
struct Redacted<'a>(&'a str);

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

/// Writes the escaped scope and its slash, with room for a value.
fn scope_text(scope: &str, value_bytes: usize) -> Result<String, KeyError> {
    let (bytes, limit) = (scope.len(), Key::MAX_SCOPE_BYTES);
    if bytes == 0 {
        return Err(KeyError::EmptyScope);
    }
    if bytes > limit {
        return Err(KeyError::ScopeTooLong { bytes, limit });
    }
    let mut text = String::with_capacity(bytes + 1 + value_bytes.min(Key::MAX_VALUE_BYTES));
    text.push_str(scope);
    SCOPE_ESCAPES.escape_from(&mut text, 0);
    text.push('/');
    Ok(text)
}

fn check_value(value: &str) -> Result<(), KeyError> {
    let (bytes, limit) = (value.len(), Key::MAX_VALUE_BYTES);
    if bytes == 0 {
        return Err(KeyError::Empty);
    }
    if bytes > limit {
        return Err(KeyError::TooLong { bytes, limit });
    }
    // Most values are printable ASCII, which their bytes tell faster than their characters, and
    // all of them faster than one after another.
    let strange = value.bytes().fold(false, |strange, byte| {
        strange | !matches!(byte, b' '..=b'~')
    });
    if !strange {
        return Ok(());
    }
    match value.find(char::is_control) {
        Some(at) => Err(KeyError::ControlCharacter { at }),
        None => Ok(()),
    }
}

const SCOPE_ESCAPES: Escapes = Escapes::new("/");

/// A guess that saves a reallocation.
const TYPICAL_VALUE_BYTES: usize = 64;

#[cfg(test)]
mod tests;
