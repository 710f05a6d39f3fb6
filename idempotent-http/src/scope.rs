//! Whose key it is.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use http::request::Parts;
use sha2::{Digest, Sha256};

/// The caller that a key belongs to: two callers who choose the same key never meet.
///
/// # Examples
///
/// ```
/// use idempotent_http::Scope;
///
/// // An account's number may stand in the store as it is.
/// let scope = Scope::new("acct_1032");
/// // A bearer token may not.
/// let scope = Scope::secret("sk_live_abc");
/// # _ = scope;
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct Scope {
    text: String,
    is_secret: bool,
}

impl Scope {
    /// The caller with this name, which stands in the record's key. An empty one, one with control
    /// characters, and one of more than 256 bytes (of which `%` and `,` count three times) are refused
    /// when a request comes: [`HttpError::Scope`](crate::HttpError::Scope).
    #[must_use]
    pub fn new(caller: impl Into<String>) -> Self {
        Self {
            text: caller.into(),
            is_secret: false,
        }
    }

    /// The caller whose name is a secret, such as a token: only its SHA-256 digest is stored. It is never
    /// the same as a caller of that name, nor as one who goes by the digest.
    #[must_use]
    pub fn secret(caller: impl AsRef<[u8]>) -> Self {
        let caller = caller.as_ref();
        let mut text = String::new();
        // An empty secret is nobody's, and stays empty to be refused.
        if !caller.is_empty() {
            text.push_str("sha256:");
            for byte in Sha256::digest(caller) {
                _ = write!(text, "{byte:02x}");
            }
        }
        Self {
            text,
            is_secret: true,
        }
    }

    /// The caller's name, or the digest of a secret one.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Does not show the caller.
impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope(<{} bytes>)", self.text.len())
    }
}

/// How the caller of a request is found.
#[derive(Clone)]
pub(crate) enum Callers {
    /// There is one caller, or there are no secrets between them.
    All,
    By(Arc<CallerOf>),
}

type CallerOf = dyn Fn(&Parts) -> Option<Scope> + Send + Sync;

/// Which part of the service a key is for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum KeyScope {
    /// The whole of it: a key that comes again at another path, or with another method, is a mismatch.
    #[default]
    Principal,
    /// Each operation: the same key at another route is another record. An operation is the method and
    /// the template of the route, where there is one (the feature `axum`), else the path as it is.
    PrincipalAndOperation,
}

/// Why there is no scope.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScopeError {
    #[error("the caller's name is empty")]
    Empty,
    #[error("the layer's `scope` found no caller")]
    NoCaller,
}

impl Callers {
    /// What comes before the key in the name of the record: the caller, and a comma. Two callers never
    /// have the same, and none has another's for a beginning, whatever is in a key.
    pub(crate) fn prefix(&self, parts: &Parts) -> Result<String, ScopeError> {
        let mut prefix = String::new();
        if let Self::By(caller_of) = self {
            let Scope { text, is_secret } = caller_of(parts).ok_or(ScopeError::NoCaller)?;
            if text.is_empty() {
                return Err(ScopeError::Empty);
            }
            if is_secret {
                // A name has no bare percent sign.
                prefix.push('%');
            }
            for character in text.chars() {
                match character {
                    '%' => prefix.push_str("%25"),
                    ',' => prefix.push_str("%2C"),
                    other => prefix.push(other),
                }
            }
        }
        prefix.push(',');
        Ok(prefix)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use idempotent_core::Key;
    use proptest::prelude::*;

    use super::*;

    fn value(caller: &str, key: &str) -> String {
        let (parts, ()) = Request::new(()).into_parts();
        let caller = caller.to_owned();
        let callers = Callers::By(Arc::new(move |_| Some(Scope::new(caller.clone()))));
        callers.prefix(&parts).unwrap() + key
    }

    proptest! {
        /// H-14.
        #[test]
        fn no_two_callers_and_keys_meet(
            caller in "[a,%:/]{1,4}", key in "[ a,%:/]{1,4}",
            other_caller in "[a,%:/]{1,4}", other_key in "[ a,%:/]{1,4}",
        ) {
            let same = (&caller, &key) == (&other_caller, &other_key);
            prop_assert_eq!(value(&caller, &key) == value(&other_caller, &other_key), same);
        }
    }

    #[test]
    fn the_longest_key_of_a_caller_fits() {
        let longest = value(&"c".repeat(256), &"k".repeat(255));
        assert_eq!(longest.len(), Key::MAX_VALUE_BYTES);
    }

    #[test]
    fn a_secret_is_not_in_the_key() {
        let secret = Scope::secret("sk_live");
        assert_eq!(secret.as_str().len(), 71);
        assert!(!secret.as_str().contains("sk_live"));
        assert_eq!(Scope::secret("").as_str(), "", "which is refused");
    }

    /// Who reads a digest in the store cannot call himself by it.
    #[test]
    fn the_digest_of_a_secret_is_not_a_name() {
        let (parts, ()) = Request::new(()).into_parts();
        let prefix = |scope: Scope| {
            let callers = Callers::By(Arc::new(move |_| Some(scope.clone())));
            callers.prefix(&parts).unwrap()
        };
        let secret = Scope::secret("sk_live");
        let digest = secret.as_str().to_owned();
        let secret = prefix(secret);
        assert_ne!(secret, prefix(Scope::new(digest.clone())));
        assert_ne!(secret, prefix(Scope::new(format!("%{digest}"))));
    }
}
