use std::collections::HashMap;
use std::panic::Location;

use crate::error::Error;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, lock};

/// The place in the source where an operation is defined, and the scope of its keys.
#[derive(Debug)]
pub struct Site {
    scope: &'static str,
    location: &'static Location<'static>,
    known: AtomicBool,
}

static SITES: Mutex<Option<HashMap<&'static str, &'static Site>>> = Mutex::new(None);

impl Site {
    /// An operation defined where this is called.
    #[must_use]
    #[track_caller]
    pub const fn new(scope: &'static str) -> Self {
        Self {
            scope,
            location: Location::caller(),
            known: AtomicBool::new(false),
        }
    }

    pub(crate) const fn scope(&self) -> &'static str {
        self.scope
    }

    /// Refuses a scope that another place of this process has used before: the two operations would
    /// replay each other's results.
    pub(crate) fn check(&'static self) -> Result<(), Error> {
        if self.known.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut sites = lock(&SITES);
        let first = *sites
            .get_or_insert_default()
            .entry(self.scope)
            .or_insert(self);
        if first.location == self.location {
            self.known.store(true, Ordering::Relaxed);
            return Ok(());
        }
        Err(Error::DuplicateScope {
            scope: self.scope.to_owned(),
            first: first.location.to_string(),
            second: self.location.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_scope_at_two_places_is_an_error_that_names_both() {
        static FIRST: Site = Site::new("site-test");
        static SECOND: Site = Site::new("site-test");
        FIRST.check().unwrap();
        let error = SECOND.check().unwrap_err().to_string();
        for site in [&FIRST, &SECOND] {
            assert!(error.contains(&site.location.to_string()), "{error}");
        }
        assert!(SECOND.check().is_err(), "not only the first time");
        FIRST.check().unwrap();
    }
}
