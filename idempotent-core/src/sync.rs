//! Locks, atomics, timers and tasks: those of the standard library and of tokio.
//!
//! The tests of interleavings put others in their places, whose every step a scheduler chooses.

use std::sync::PoisonError;
#[cfg(not(all(test, shuttle)))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(all(test, shuttle))]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic};
#[cfg(not(all(test, shuttle)))]
pub(crate) use tokio::{runtime::Handle, time};

#[cfg(all(test, shuttle))]
pub(crate) use crate::interleavings::runtime::{Handle, time};

/// Locks `mutex`, whatever has become of its former holders: in this crate nothing can panic while a
/// lock is held half-way through a change.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
