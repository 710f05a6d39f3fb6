//! Errors of one phase, reported together.

use syn::{Error, Result};

/// Collects the errors of a phase, so that a person sees all of them at once.
#[derive(Default)]
pub(crate) struct Errors(Option<Error>);

impl Errors {
    /// Notes the error of `result`, which comes back unchanged.
    pub(crate) fn note<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            match &mut self.0 {
                Some(first) => first.combine(error.clone()),
                none => *none = Some(error.clone()),
            }
        }
        result
    }

    /// Ends the phase, with everything that was noted if there was anything.
    pub(crate) fn finish(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}
