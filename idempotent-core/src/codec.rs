//! How results become bytes.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{BoxError, Error};

/// The number by which a record names its codec, at most 999.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CodecId(u16);

impl CodecId {
    /// [`Json`]'s number.
    pub const JSON: Self = Self(1);
    /// No codec: the record has no result to decode.
    pub const NONE: Self = Self(0);

    /// The codec with this number. Numbers below 100 are for this crate.
    ///
    /// Returns `None` above 999.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number <= 999 {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The number.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        self.0
    }
}

/// Turns results into bytes, and back.
///
/// An engine writes with one codec, and reads with every codec that it knows, so that a service can
/// change its codec while old records live. [`Json`] is the default, because an operator can read
/// it in `redis-cli` and `sqlite3`.
///
/// # Examples
///
/// ```
/// use erased_serde::{Deserializer, Serialize};
/// use idempotent_core::{BoxError, Codec, CodecId};
///
/// /// JSON that a person can read.
/// #[derive(Debug)]
/// struct Pretty;
///
/// impl Codec for Pretty {
///     fn id(&self) -> CodecId {
///         CodecId::new(100).expect("at most 999")
///     }
///
///     fn encode(&self, value: &dyn Serialize) -> Result<Vec<u8>, BoxError> {
///         Ok(serde_json::to_vec_pretty(value)?)
///     }
///
///     fn decode(
///         &self,
///         bytes: &[u8],
///         read: &mut dyn FnMut(&mut dyn Deserializer<'_>) -> Result<(), BoxError>,
///     ) -> Result<(), BoxError> {
///         let mut json = serde_json::Deserializer::from_slice(bytes);
///         read(&mut <dyn Deserializer<'_>>::erase(&mut json))
///     }
/// }
/// ```
pub trait Codec: Debug + Send + Sync + 'static {
    /// The number under which records name this codec.
    fn id(&self) -> CodecId;

    /// Encodes `value`.
    ///
    /// # Errors
    ///
    /// If `value` cannot be serialized. The engine then keeps the record without a result.
    fn encode(&self, value: &dyn erased_serde::Serialize) -> Result<Vec<u8>, BoxError>;

    /// Calls `read` once, with a deserializer over `bytes`.
    ///
    /// # Errors
    ///
    /// If `bytes` are not of this codec, or `read` fails.
    fn decode(
        &self,
        bytes: &[u8],
        read: &mut dyn FnMut(&mut dyn erased_serde::Deserializer<'_>) -> Result<(), BoxError>,
    ) -> Result<(), BoxError>;
}

/// JSON, the default codec. The engine calls `serde_json` directly for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl Codec for Json {
    fn id(&self) -> CodecId {
        CodecId::JSON
    }

    fn encode(&self, value: &dyn erased_serde::Serialize) -> Result<Vec<u8>, BoxError> {
        Ok(serde_json::to_vec(value)?)
    }

    fn decode(
        &self,
        bytes: &[u8],
        read: &mut dyn FnMut(&mut dyn erased_serde::Deserializer<'_>) -> Result<(), BoxError>,
    ) -> Result<(), BoxError> {
        let mut json = serde_json::Deserializer::from_slice(bytes);
        read(&mut <dyn erased_serde::Deserializer<'_>>::erase(&mut json))?;
        Ok(json.end()?)
    }
}

/// The codecs of an engine: one to write with, all to read with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Codecs {
    write: Option<Arc<dyn Codec>>,
    read: Vec<Arc<dyn Codec>>,
}

/// Why a payload could not be decoded.
#[derive(Debug)]
pub(crate) enum DecodeError {
    Undecodable(BoxError),
    UnknownCodec(CodecId),
}

impl DecodeError {
    pub(crate) fn into_error(self) -> Error {
        Error::Incompatible(match self {
            Self::Undecodable(source) => source,
            Self::UnknownCodec(codec) => format!("unknown codec {}", codec.as_u16()).into(),
        })
    }
}

impl Codecs {
    pub(crate) fn write_with(&mut self, codec: Arc<dyn Codec>) {
        self.write = Some(Arc::clone(&codec));
        self.read.push(codec);
    }

    pub(crate) fn also_read(&mut self, codec: Arc<dyn Codec>) {
        self.read.push(codec);
    }

    pub(crate) fn encode<T: Serialize>(&self, value: &T) -> Result<(CodecId, Bytes), BoxError> {
        let (id, bytes) = match &self.write {
            None => (CodecId::JSON, serde_json::to_vec(value)?),
            Some(codec) => (codec.id(), codec.encode(value)?),
        };
        Ok((id, bytes.into()))
    }

    pub(crate) fn decode<T: DeserializeOwned>(
        &self,
        codec: CodecId,
        bytes: &[u8],
    ) -> Result<T, DecodeError> {
        let known = self.read.iter().find(|known| known.id() == codec);
        match known {
            Some(known) => decode_with(known.as_ref(), bytes).map_err(DecodeError::Undecodable),
            None if codec == CodecId::JSON => serde_json::from_slice(bytes)
                .map_err(|error| DecodeError::Undecodable(error.into())),
            None => Err(DecodeError::UnknownCodec(codec)),
        }
    }
}

fn decode_with<T: DeserializeOwned>(codec: &dyn Codec, bytes: &[u8]) -> Result<T, BoxError> {
    let mut value = None;
    codec.decode(bytes, &mut |deserializer| {
        value = Some(erased_serde::deserialize(deserializer)?);
        Ok(())
    })?;
    value.ok_or_else(|| "the codec did not read anything".into())
}
