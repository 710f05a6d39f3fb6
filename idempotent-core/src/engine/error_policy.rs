use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::OnError;
use crate::codec::{Codecs, DecodeError};
use crate::error::{BoxError, Error};
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

mod sealed {
    #[expect(unnameable_types, reason = "that is what seals a trait")]
    pub trait Sealed {}
    impl Sealed for super::UnrecordedErrors {}
    impl<E> Sealed for super::RecordErrors<E> {}
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

impl<E> fmt::Debug for RecordErrors<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordErrors")
    }
}
