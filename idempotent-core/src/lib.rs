//! The engine of `idempotency`.

#[doc(hidden)]
pub mod __private;
mod clock;
mod codec;
mod engine;
mod error;
mod fingerprint;
mod key;
mod lease;
mod memory;
mod outcome;
pub mod protocol;
mod record;
mod store;

pub use self::clock::{Clock, Timestamp};
pub use self::codec::{Codec, CodecId, Json};
pub use self::engine::{
    Attempt, Engine, EngineBuilder, ErrorPolicy, Event, EventKind, NoKey, Observer, OnAbandoned,
    OnCancel, OnConflict, OnError, OnPanic, OnStoreFailure, OnUnrecorded, Operation, RecordErrors,
    ReleaseErrors, Verdict,
};
pub use self::error::{BoxError, Error, StoreError, UnrecordedValue};
pub use self::fingerprint::{
    Fingerprint, FingerprintArg, FingerprintBuilder, FingerprintError, ParseFingerprintError,
};
pub use self::key::{FixedKey, IntoKey, Key, KeyError, KeyPart, KeyTemplate, KeyText, KeyValue};
pub use self::lease::{Fence, Owner, ParseOwnerError};
pub use self::memory::{MemoryStore, OnFull};
pub use self::outcome::{Outcome, Provenance, Recordable, Reply};
pub use self::record::{Ending, Payload, Record, State, Step};
pub use self::store::{
    Deletion, DynStore, Entry, Inspect, InspectExt, Page, Purged, Query, Resolution, ResolveError,
    Statistics, Store, Watch, Watchers,
};
