//! How a value came about, and what the engine needs to know of results.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::Timestamp;
use crate::error::Error;

/// A value, and how it came about.
///
/// An idempotent function that returns `Result<Outcome<T>, E>` tells its callers whether it ran.
/// What is recorded is the value alone, so a function can change between the two.
///
/// # Examples
///
/// ```
/// use idempotent_core::{Engine, Error, MemoryStore, Outcome};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// let engine = Engine::new(MemoryStore::new());
/// let charge = || async {
///     let operation = engine.operation("charge").key("order-1");
///     operation.run(async { Ok::<_, Error>(Outcome::new("receipt".to_owned())) }).await
/// };
/// assert!(charge().await?.is_executed());
/// assert!(charge().await?.is_replayed());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outcome<T> {
    value: T,
    provenance: Provenance,
}

/// How a value came about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Provenance {
    /// This call ran the operation, and the result was recorded.
    Executed {
        /// Which attempt it was.
        attempt: u32,
        /// Whether the value itself was kept. Where it was not, because it is too large or cannot
        /// be serialized, a later call gets [`Error::ResultUnavailable`] instead of a replay.
        kept: bool,
    },
    /// An earlier call ran the operation.
    Replayed {
        /// When it finished, by the store's clock.
        since: Timestamp,
        /// Until when it is kept, by the store's clock.
        until: Timestamp,
    },
    /// This call ran the operation without any protection.
    Unprotected,
    /// This call ran the operation, but the store has not recorded its result: a retry may run it
    /// again.
    Unrecorded,
}

impl<T> Outcome<T> {
    /// The value of an operation that has just run.
    pub const fn new(value: T) -> Self {
        Self {
            value,
            provenance: Provenance::Executed {
                attempt: 1,
                kept: true,
            },
        }
    }

    /// How the value came about.
    pub const fn provenance(&self) -> Provenance {
        self.provenance
    }

    /// The value.
    pub const fn value(&self) -> &T {
        &self.value
    }

    /// The value alone.
    pub fn into_value(self) -> T {
        self.value
    }

    /// Whether this call ran the operation, and the result was recorded.
    pub const fn is_executed(&self) -> bool {
        matches!(self.provenance, Provenance::Executed { .. })
    }

    /// Whether an earlier call ran the operation.
    pub const fn is_replayed(&self) -> bool {
        matches!(self.provenance, Provenance::Replayed { .. })
    }
}

impl<T> From<T> for Outcome<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

/// A value that can be recorded and replayed: whatever serde can write and read back, or an
/// [`Outcome`] of it.
#[diagnostic::on_unimplemented(
    message = "`#[idempotent]` cannot record a value of type `{Self}`",
    label = "cannot be written and read back",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it; a value that borrows cannot \
            be read back"
)]
pub trait Recordable: Sized {
    /// What is recorded.
    type Stored: Serialize + DeserializeOwned;

    /// Whether the value can say how it came about.
    #[doc(hidden)]
    const TELLS: bool;

    /// What to record.
    #[doc(hidden)]
    fn stored(&self) -> &Self::Stored;

    /// The value that was recorded, with how it came about.
    #[doc(hidden)]
    fn replayed(stored: Self::Stored, provenance: Provenance) -> Self;

    /// This value, with how it came about.
    #[doc(hidden)]
    #[must_use]
    fn told(self, provenance: Provenance) -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> Recordable for T {
    type Stored = T;

    const TELLS: bool = false;

    fn stored(&self) -> &T {
        self
    }

    fn replayed(stored: T, _: Provenance) -> Self {
        stored
    }

    fn told(self, _: Provenance) -> Self {
        self
    }
}

impl<T: Serialize + DeserializeOwned> Recordable for Outcome<T> {
    type Stored = T;

    const TELLS: bool = true;

    fn stored(&self) -> &T {
        &self.value
    }

    fn replayed(value: T, provenance: Provenance) -> Self {
        Self { value, provenance }
    }

    fn told(self, provenance: Provenance) -> Self {
        Self {
            value: self.value,
            provenance,
        }
    }
}

/// The return type of an idempotent operation: a `Result` whose value can be recorded, and whose
/// error can say what the engine has to say.
#[diagnostic::on_unimplemented(
    message = "`#[idempotent]` cannot replay a return value of type `{Self}`",
    label = "not a `Result<T, E>`",
    note = "return a `Result<T, E>` with a `T: Serialize + DeserializeOwned` and an \
            `E: From<idempotency::Error>`"
)]
pub trait Reply: Sized {
    /// The value.
    type Value: Recordable;
    /// The error.
    type Error: OperationError;

    /// As a result.
    #[doc(hidden)]
    fn into_result(self) -> Result<Self::Value, Self::Error>;

    /// From a result.
    #[doc(hidden)]
    fn from_result(result: Result<Self::Value, Self::Error>) -> Self;
}

impl<T: Recordable, E: OperationError> Reply for Result<T, E> {
    type Error = E;
    type Value = T;

    fn into_result(self) -> Self {
        self
    }

    fn from_result(result: Self) -> Self {
        result
    }
}

/// An error that an operation can return: it takes in what the engine has to say.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot say what `idempotency::Error` says",
    label = "the error type is not `From<idempotency::Error>`",
    note = "add `impl From<idempotency::Error> for {Self}`, or a variant with `#[from]` of `thiserror`"
)]
pub trait OperationError: From<Error> {}

#[diagnostic::do_not_recommend]
impl<E: From<Error>> OperationError for E {}
