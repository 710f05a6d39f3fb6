//! The decision table: what a delivery's end means to its broker.

use std::time::Duration;

use idempotent_core::{BoxError, Error, Outcome as Recorded, Provenance};

use crate::backoff::about;
use crate::call::{Call, NotAdmitted, Reply};
use crate::chain::chain;
use crate::config::MissingId;
use crate::disposition::{Disposition, Reason, ReasonKind};
use crate::ended::{Ended, Failure, Verdict};
use crate::handler::HandlerError;
use crate::outcome::{Outcome, Processed};

/// The longest that a message waits for another consumer, or for the store, before it is tried again.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl Call<'_> {
    pub(crate) fn decide<T>(&self, reply: Reply<T>) -> Processed<T> {
        let decided = match reply {
            Ok(recorded) => self.decide_value(recorded),
            Err(Ended::Cancelled) => processed(Outcome::Cancelled, Disposition::Leave),
            Err(Ended::Engine(error)) => self.decide_error(error),
            Err(Ended::Failed(failure)) => self.decide_failure(failure),
            Err(Ended::LeaseLost) => self.again(Outcome::LeaseLost),
        };
        if !matches!(decided.outcome, Outcome::StoreUnavailable { .. }) {
            self.consumer.shared().breaker.answered();
        }
        decided
    }

    fn decide_value<T>(&self, recorded: Recorded<T>) -> Processed<T> {
        let outcome = match recorded.provenance() {
            Provenance::Executed { kept: false, .. } => Outcome::Unencodable,
            Provenance::Replayed { .. } => Outcome::Duplicate(Some(recorded.into_value())),
            Provenance::Executed { .. } | Provenance::Unprotected => {
                Outcome::Executed(recorded.into_value())
            }
            // `Unrecorded`, and whatever else is not said to be recorded.
            _ => {
                return self.unavailable("the store has not taken the result in time", true);
            }
        };
        processed(outcome, Disposition::Ack)
    }

    fn decide_error<T>(&self, error: Error) -> Processed<T> {
        match error {
            Error::FingerprintMismatch => {
                dead_letter(Outcome::Mismatch, Reason::new(ReasonKind::Mismatch))
            }
            Error::InProgress { retry_after } => {
                let after = about(retry_after.min(LONGEST_WAIT));
                processed(Outcome::InProgress { retry_after }, uncounted(after))
            }
            Error::LeaseLost { .. } => self.again(Outcome::LeaseLost),
            Error::ResultUnavailable => processed(Outcome::Duplicate(None), Disposition::Ack),
            Error::CommitUnknown { .. } | Error::Unrecorded { .. } => self.unavailable(error, true),
            Error::RolledBack { .. } | Error::Store { .. } => self.unavailable(error, false),
            Error::Corrupt(_) | Error::Incompatible(_) => self.decide_corrupt(error),
            error => self.again(Outcome::Refused(error)),
        }
    }

    fn decide_failure<T>(&self, failure: Failure) -> Processed<T> {
        let Failure {
            attempt,
            failures,
            error,
            verdict,
        } = failure;
        let pause = error.as_ref().and_then(HandlerError::pause);
        let error = error.map(HandlerError::into_source);
        let reason = |kind| Reason {
            failures,
            error: error.as_deref().map(|error| chain(error)),
            ..Reason::new(kind)
        };
        let disposition = match verdict {
            Verdict::Exhausted => Disposition::DeadLetter(reason(ReasonKind::Exhausted)),
            Verdict::Permanent => Disposition::DeadLetter(reason(ReasonKind::Permanent)),
            Verdict::Retryable => Disposition::Retry {
                after: pause.unwrap_or_else(|| self.consumer.config().backoff.after(failures)),
                counted: true,
            },
        };
        let outcome = match (verdict, error) {
            (Verdict::Permanent | Verdict::Retryable, Some(error)) => Outcome::Failed {
                attempt,
                error,
                permanent: verdict == Verdict::Permanent,
            },
            (_, error) => Outcome::Exhausted { attempt, error },
        };
        processed(outcome, disposition)
    }

    /// A record that cannot be read cannot be counted in, either.
    fn decide_corrupt<T>(&self, error: Error) -> Processed<T> {
        let (shared, config) = (self.consumer.shared(), self.consumer.config());
        let strikes = self.key.as_ref().map(|key| shared.strikes.strike(key));
        let deliveries = self.hint.map(|hint| hint.saturating_add(1));
        if strikes.max(deliveries) < Some(config.max_attempts) {
            return self.again(Outcome::Corrupt(error));
        }
        if let Some(key) = &self.key {
            shared.strikes.forget(key);
        }
        let reason = Reason {
            error: Some(chain(&error)),
            ..Reason::new(ReasonKind::Corrupt)
        };
        dead_letter(Outcome::Corrupt(error), reason)
    }

    fn unavailable<T>(&self, source: impl Into<BoxError>, executed: bool) -> Processed<T> {
        let failures = self.consumer.shared().breaker.failed();
        let after = self
            .consumer
            .config()
            .backoff
            .after(failures)
            .min(LONGEST_WAIT);
        let source = source.into();
        let outcome = Outcome::StoreUnavailable { source, executed };
        processed(outcome, uncounted(after))
    }

    /// It comes again soon, and nobody has failed.
    fn again<T>(&self, outcome: Outcome<T>) -> Processed<T> {
        processed(outcome, uncounted(self.consumer.config().backoff.after(1)))
    }
}

impl NotAdmitted {
    pub(crate) fn decide<T>(self, missing: MissingId) -> Processed<T> {
        match self {
            Self::MissingId if missing == MissingId::Error => {
                processed(Outcome::MissingId, Disposition::Leave)
            }
            Self::MissingId => dead_letter(Outcome::MissingId, Reason::new(ReasonKind::MissingId)),
            Self::Digest(error) => {
                let reason = Reason {
                    error: Some(chain(&*error)),
                    ..Reason::new(ReasonKind::Permanent)
                };
                let outcome = Outcome::Failed {
                    attempt: 0,
                    error,
                    permanent: true,
                };
                dead_letter(outcome, reason)
            }
        }
    }
}

const fn processed<T>(outcome: Outcome<T>, disposition: Disposition) -> Processed<T> {
    Processed {
        outcome,
        disposition,
    }
}

const fn dead_letter<T>(outcome: Outcome<T>, reason: Reason) -> Processed<T> {
    processed(outcome, Disposition::DeadLetter(reason))
}

const fn uncounted(after: Duration) -> Disposition {
    Disposition::Retry {
        after,
        counted: false,
    }
}
