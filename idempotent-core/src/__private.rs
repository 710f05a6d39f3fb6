//! What the attribute's expansion calls. Not for people, and not stable.

pub use ::core;

use std::sync::Arc;

pub use crate::engine::{
    AllCodecs, Attempt, Begun, DURATIONS, Determinism, InTransaction, OnAbandoned, OnCancel,
    OnConflict, OnError, OnPanic, OnStoreFailure, OnUnrecorded, Operation, Running, Seat, Site,
    Start, Verdict, caught,
};
use crate::engine::{Engine, NoKey};
pub use crate::error::Unencodable;
pub use crate::key::KeyTemplate;

/// The engine of a call, if there is one.
#[derive(Debug)]
pub struct EngineSource(Option<Engine>);

/// Something that gives an [`Engine`].
#[diagnostic::on_unimplemented(
    message = "`engine = ..` needs an `Engine`, not a `{Self}`",
    label = "not an `Engine`, nor a reference to one"
)]
pub trait AsEngine {
    /// A handle to the engine.
    fn as_engine(&self) -> Engine;
}

impl AsEngine for Engine {
    fn as_engine(&self) -> Engine {
        self.clone()
    }
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<T: AsEngine + ?Sized> AsEngine for $pointer {
            fn as_engine(&self) -> Engine {
                (**self).as_engine()
            }
        }
    )*};
}

forward!(&T, &mut T, Arc<T>, Box<T>);

/// The engine that the user names.
pub fn engine(engine: &(impl AsEngine + ?Sized)) -> EngineSource {
    EngineSource(Some(engine.as_engine()))
}

/// The process default.
#[must_use]
pub fn installed() -> EngineSource {
    EngineSource(Engine::installed())
}

/// Begins to describe one call of the operation at `site`.
pub fn operation(engine: EngineSource, site: &'static Site) -> Operation<NoKey> {
    Operation::new(engine.0, site.scope().into(), Some(site))
}
