use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::error::StoreError;
use crate::sync::{Mutex, lock};

/// A transaction that is lent to the body of an operation, until it is dropped.
///
/// Drop it, or let it go out of scope, by the end of the body. One that is kept is rolled back when it
/// is dropped, and the operation fails.
pub struct Lent<T> {
    /// Always there, until it goes back.
    value: Option<T>,
    back: Arc<Mutex<Option<T>>>,
}

/// Where what was lent comes back to.
pub(crate) struct Lender<T>(Arc<Mutex<Option<T>>>);

const LENT: &str = "it is there until it is dropped";

impl<T> Lent<T> {
    pub(crate) fn new(value: T) -> (Self, Lender<T>) {
        let back = Arc::new(Mutex::new(None));
        let lent = Self {
            value: Some(value),
            back: Arc::clone(&back),
        };
        (lent, Lender(back))
    }
}

impl<T> Lender<T> {
    /// What was lent, if it has come back.
    pub(crate) fn back(self) -> Result<T, StoreError> {
        lock(&self.0).take().ok_or_else(|| {
            let reason =
                "the operation has kept its transaction: drop it before the operation ends";
            StoreError::Backend(reason.into())
        })
    }
}

impl<T> Deref for Lent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect(LENT)
    }
}

impl<T> DerefMut for Lent<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect(LENT)
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        *lock(&self.back) = self.value.take();
    }
}

impl<T: fmt::Debug> fmt::Debug for Lent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
