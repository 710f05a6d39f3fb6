use std::fmt;

use crate::error::{BoxError, StoreError};

/// Why a step did not run, or does not count.
///
/// The operation cannot go on: return the error. Whatever the operation returns after one of these is
/// never recorded as its failure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// An earlier step was dropped in the middle of its run, as by `select!` or `timeout`. It may have had
    /// its effect, and nothing after it can be recorded.
    #[error("step `{step}` was dropped before it ended; give it a timeout within, not around it")]
    Abandoned {
        /// The step that was dropped.
        step: String,
    },

    /// An earlier step was not recorded, and nothing after it can be.
    #[error("step `{step}` was not recorded, so that nothing after it can be")]
    Blocked {
        /// The step that was not recorded.
        step: String,
    },

    /// A step of this name was built before in the same run.
    #[error("two steps are called `{step}`; give each its own name, in a loop by `step_n`")]
    Duplicate {
        /// The name.
        step: String,
    },

    /// The operation has ended, and its attempt was used after that.
    #[error("step `{step}` was built after the end of its operation")]
    Ended {
        /// The step.
        step: String,
    },

    /// The operation runs in one transaction, which is recorded as a whole.
    #[error(
        "an operation in a transaction has no steps; leave `transaction(..)` out to record them"
    )]
    InTransaction,

    /// A name is 1 to 128 bytes, without control characters, and does not begin with `$`.
    #[error("a step cannot be called {step:?}; use 1 to 128 bytes that do not begin with `$`")]
    InvalidName {
        /// The refused name.
        step: String,
    },

    /// Another attempt has taken over. The step may have had its effect; it was not recorded.
    #[error("the lease was lost before step `{step}` was recorded; another attempt goes on")]
    LeaseLost {
        /// The step.
        step: String,
    },

    /// The steps of the operation are not those that are recorded. Nothing ran.
    #[error("the operation has changed since its steps were recorded")]
    Mismatch(#[from] StepMismatch),

    /// The step's value is larger than [`max_step_size`](crate::EngineBuilder::max_step_size). It ran, and
    /// was not recorded.
    #[error(
        "step `{step}` gave {bytes} bytes, and `max_step_size` allows {limit}; keep a reference"
    )]
    TooLarge {
        /// The step.
        step: String,
        /// The size of its encoded value.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },

    /// The run has as many steps as it may have, or they are as large as they may be. The step did not
    /// run.
    #[error("step `{step}` is beyond what `max_steps` or `max_history` allows; it did not run")]
    TooMany {
        /// The step.
        step: String,
    },

    /// The step's value could not be written. It ran, and was not recorded.
    #[error("the value of step `{step}` could not be encoded")]
    Unencodable {
        /// The step.
        step: String,
        /// Why.
        #[source]
        source: BoxError,
    },

    /// The store did not take the step. It ran, and the next attempt runs it again, with the same key.
    #[error(
        "the {store} store did not record step `{step}`; a retry runs it again with the same key"
    )]
    Unrecorded {
        /// The step.
        step: String,
        /// Which store.
        store: &'static str,
        /// Why.
        #[source]
        source: StoreError,
    },
}

impl StepError {
    /// Whether the same call, with the same key, may succeed later without anybody's help.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Abandoned { .. } | Self::Blocked { .. } | Self::LeaseLost { .. } => true,
            Self::Unrecorded { source, .. } => source.is_transient(),
            Self::Duplicate { .. }
            | Self::Ended { .. }
            | Self::InTransaction
            | Self::InvalidName { .. }
            | Self::Mismatch(_)
            | Self::TooLarge { .. }
            | Self::TooMany { .. }
            | Self::Unencodable { .. } => false,
        }
    }
}

/// Where the steps of an operation part from those that are recorded.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct StepMismatch {
    /// How many steps the run has built before this one.
    pub place: u32,
    /// What is recorded at this place, if anything.
    pub recorded: Option<String>,
    /// What the operation asked for: a step, or its end.
    pub requested: Option<String>,
    /// Which [version](crate::EngineBuilder::version) of the program recorded it.
    pub recorded_version: String,
    /// Which version this is.
    pub current_version: String,
}

impl fmt::Display for StepMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            recorded,
            requested,
            recorded_version,
            current_version,
        } = self;
        match (recorded, requested) {
            (Some(recorded), Some(requested)) => {
                write!(f, "step {place} is `{requested}`, and was `{recorded}`")?;
            }
            (Some(recorded), None) => {
                write!(
                    f,
                    "the operation has ended without step {place}, `{recorded}`"
                )?;
            }
            (None, Some(requested)) => {
                write!(
                    f,
                    "step {place} is `{requested}`, which was at another place"
                )?;
            }
            (None, None) => write!(f, "the operation has ended otherwise")?,
        }
        write!(
            f,
            " (recorded by version {recorded_version:?}, this is {current_version:?}); \
             use `patched` where a step is added, or run the old version to the end"
        )
    }
}

impl std::error::Error for StepMismatch {}
