use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::OnError;
use crate::codec::{Codecs, DecodeError};
use crate::error::{BoxError, Error};
use crate::protocol::Failures;
use crate::record::Payload;

/// What becomes of the errors of type `E` that an operation returns.
///
/// Implemented by [`UnrecordedErrors`] for every error, and by [`RecordErrors`] for those that can be
/// recorded.
#[diagnostic::on_unimplemented(
    message = "`#[idempotent]` cannot record an error of type `{E}`",
    label = "the error cannot be written and read back",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it, or choose another `on_error`"
)]
pub trait ErrorPolicy<E>: sealed::Sealed + Send + Sync {
    /// What to do about `error`.
    #[doc(hidden)]
    fn decide(&self, error: &E) -> OnError;

    /// Whether `error` says that the operation has done nothing.
    #[doc(hidden)]
    fn is_clean(&self, _error: &E) -> bool {
        false
    }

    /// Whether a transaction that ended with `error` is to run again.
    #[doc(hidden)]
    fn reruns(&self, _error: &E) -> bool {
        false
    }

    /// What becomes of the count of failures if `error` is not recorded.
    #[doc(hidden)]
    fn failures(&self, _error: &E) -> Failures {
        Failures::Count
    }

    /// Encodes `error`.
    #[doc(hidden)]
    fn encode(codecs: &AllCodecs<'_>, error: &E) -> Result<Payload, BoxError>;

    /// Decodes a recorded error.
    #[doc(hidden)]
    fn decode(codecs: &AllCodecs<'_>, payload: &Payload) -> Result<E, Error>;
}

/// The codecs of an engine, for [`ErrorPolicy`] alone.
#[derive(Debug)]
#[doc(hidden)]
pub struct AllCodecs<'a>(pub(crate) &'a Codecs);

/// No error is recorded: the key is released, or held in doubt.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnrecordedErrors {
    pub(super) hold: bool,
}

/// Errors are recorded, or not, as a function says.
pub struct RecordErrors<E>(pub(super) fn(&E) -> OnError);

/// Some errors say that the database has given a transaction up, which then runs again.
pub struct RerunErrors<P, E> {
    pub(super) policy: P,
    pub(super) is_given_up: fn(&E) -> bool,
}

/// A function says what each error does to the count of failures.
pub struct CountErrors<P, E> {
    pub(super) policy: P,
    pub(super) count: fn(&E) -> Failures,
}

/// Some errors say that the operation has done nothing.
pub struct CleanErrors<P, E> {
    pub(super) policy: P,
    pub(super) is_clean: fn(&E) -> bool,
}

mod sealed {
    #[expect(unnameable_types, reason = "that is what seals a trait")]
    pub trait Sealed {}
    impl Sealed for super::UnrecordedErrors {}
    impl<E> Sealed for super::RecordErrors<E> {}
    impl<P, E> Sealed for super::CountErrors<P, E> {}
    impl<P, E> Sealed for super::RerunErrors<P, E> {}
    impl<P, E> Sealed for super::CleanErrors<P, E> {}
}

impl<E> ErrorPolicy<E> for UnrecordedErrors {
    fn decide(&self, _: &E) -> OnError {
        if self.hold {
            OnError::Hold
        } else {
            OnError::Release
        }
    }

    fn encode(_: &AllCodecs<'_>, _: &E) -> Result<Payload, BoxError> {
        Err("this operation does not record errors".into())
    }

    fn decode(_: &AllCodecs<'_>, _: &Payload) -> Result<E, Error> {
        let reason = "an error is recorded, and this version of the operation records none";
        Err(Error::Incompatible(reason.into()))
    }
}

#[diagnostic::do_not_recommend]
impl<E: Serialize + DeserializeOwned> ErrorPolicy<E> for RecordErrors<E> {
    fn decide(&self, error: &E) -> OnError {
        (self.0)(error)
    }

    fn encode(codecs: &AllCodecs<'_>, error: &E) -> Result<Payload, BoxError> {
        let (codec, bytes) = codecs.0.encode(error)?;
        Ok(Payload { codec, bytes })
    }

    fn decode(codecs: &AllCodecs<'_>, payload: &Payload) -> Result<E, Error> {
        codecs
            .0
            .decode(payload.codec, &payload.bytes)
            .map_err(DecodeError::into_error)
    }
}

#[diagnostic::do_not_recommend]
impl<P: ErrorPolicy<E>, E> ErrorPolicy<E> for RerunErrors<P, E> {
    fn decide(&self, error: &E) -> OnError {
        self.policy.decide(error)
    }

    fn is_clean(&self, error: &E) -> bool {
        self.policy.is_clean(error)
    }

    fn reruns(&self, error: &E) -> bool {
        (self.is_given_up)(error)
    }

    fn failures(&self, error: &E) -> Failures {
        self.policy.failures(error)
    }

    fn encode(codecs: &AllCodecs<'_>, error: &E) -> Result<Payload, BoxError> {
        P::encode(codecs, error)
    }

    fn decode(codecs: &AllCodecs<'_>, payload: &Payload) -> Result<E, Error> {
        P::decode(codecs, payload)
    }
}

#[diagnostic::do_not_recommend]
impl<P: ErrorPolicy<E>, E> ErrorPolicy<E> for CleanErrors<P, E> {
    fn decide(&self, error: &E) -> OnError {
        self.policy.decide(error)
    }

    fn is_clean(&self, error: &E) -> bool {
        (self.is_clean)(error)
    }

    fn reruns(&self, error: &E) -> bool {
        self.policy.reruns(error)
    }

    fn failures(&self, error: &E) -> Failures {
        self.policy.failures(error)
    }

    fn encode(codecs: &AllCodecs<'_>, error: &E) -> Result<Payload, BoxError> {
        P::encode(codecs, error)
    }

    fn decode(codecs: &AllCodecs<'_>, payload: &Payload) -> Result<E, Error> {
        P::decode(codecs, payload)
    }
}

#[diagnostic::do_not_recommend]
impl<P: ErrorPolicy<E>, E> ErrorPolicy<E> for CountErrors<P, E> {
    fn decide(&self, error: &E) -> OnError {
        self.policy.decide(error)
    }

    fn is_clean(&self, error: &E) -> bool {
        self.policy.is_clean(error)
    }

    fn reruns(&self, error: &E) -> bool {
        self.policy.reruns(error)
    }

    fn failures(&self, error: &E) -> Failures {
        (self.count)(error)
    }

    fn encode(codecs: &AllCodecs<'_>, error: &E) -> Result<Payload, BoxError> {
        P::encode(codecs, error)
    }

    fn decode(codecs: &AllCodecs<'_>, payload: &Payload) -> Result<E, Error> {
        P::decode(codecs, payload)
    }
}

impl<P: fmt::Debug, E> fmt::Debug for CountErrors<P, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CountErrors").field(&self.policy).finish()
    }
}

impl<P: fmt::Debug, E> fmt::Debug for CleanErrors<P, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CleanErrors").field(&self.policy).finish()
    }
}

impl<P: fmt::Debug, E> fmt::Debug for RerunErrors<P, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RerunErrors").field(&self.policy).finish()
    }
}

impl<E> fmt::Debug for RecordErrors<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordErrors")
    }
}
