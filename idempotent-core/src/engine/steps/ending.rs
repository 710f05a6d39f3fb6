//! What the steps of an operation say about its end.

use super::log::Stop;
use super::{Log, StepError};
use crate::engine::EventKind;
use crate::engine::running::{ErrorEnd, Held};
use crate::error::Error;
use crate::protocol::Failures;
use crate::record::Payload;
use crate::sync::{Mutex, MutexGuard, lock};

/// What becomes of the value that an operation returned.
pub(crate) enum Returned {
    /// The operation has gone another way than the recorded one: nothing is recorded.
    Diverged(Error),
    /// The operation has recorded its result itself.
    Finished { is_same: bool },
    /// It is the result.
    Result,
}

impl Held {
    /// Judges the value that the operation returned, which would be recorded as `payload`.
    pub(crate) fn judge(&self, payload: &Payload) -> Returned {
        let mut log = match self.log() {
            Ok(Some(log)) => log,
            Ok(None) => return Returned::Result,
            Err(error) => return Returned::Diverged(error),
        };
        if let Some(finished) = log.finished() {
            let is_same = finished == payload;
            return Returned::Finished { is_same };
        }
        match log.stopped_by() {
            Some(Stop::Abandoned(step)) => self.call.emit(EventKind::StepAbandoned, step),
            Some(Stop::Diverged(mismatch)) => {
                return Returned::Diverged(StepError::from(mismatch.clone()).into());
            }
            _ => {}
        }
        match log.check_end(&self.call.rules()) {
            Ok(()) => {
                log.stop(Stop::Ended);
                Returned::Result
            }
            Err(mismatch) => Returned::Diverged(StepError::from(mismatch).into()),
        }
    }

    /// What becomes of a record whose operation returned an error, which would otherwise end as `end`.
    pub(crate) fn judge_error(&self, end: ErrorEnd) -> ErrorEnd {
        let Ok(Some(mut log)) = self.log() else {
            return end;
        };
        let end = match (log.stopped_by(), end) {
            (Some(Stop::Diverged(mismatch)), _) => self.stuck(mismatch),
            (Some(Stop::LeaseLost), _) => ErrorEnd::Superseded,
            // It is this attempt's failure, and not the operation's.
            (_, ErrorEnd::Record(_)) if log.has_refused() => ErrorEnd::Release(Failures::Count),
            (_, ErrorEnd::Record(payload)) => match log.check_end(&self.call.rules()) {
                Ok(()) => ErrorEnd::Record(payload),
                Err(mismatch) => self.stuck(&mismatch),
            },
            (_, ErrorEnd::Clean) if log.has_steps() => ErrorEnd::Release(Failures::Count),
            (_, end) => end,
        };
        log.stop(Stop::Ended);
        end
    }

    /// The end of an attempt that cannot go on. Another version of the program may; after many attempts
    /// somebody has to look.
    pub(crate) fn stuck(&self, why: &dyn std::fmt::Display) -> ErrorEnd {
        self.call.emit(EventKind::Diverged, why);
        let parks = self.grant.attempt >= self.call.shared().max_resumes;
        if parks {
            self.call
                .emit(EventKind::Parked, &"it has diverged too often");
        }
        ErrorEnd::Stuck { parks }
    }

    /// The log of this run, if anything is recorded, or was to be.
    fn log(&self) -> Result<Option<MutexGuard<'_, Log>>, Error> {
        if self.run.log.get().is_none() {
            if self.grant.steps.is_empty() {
                return Ok(None);
            }
            let log = Log::read(&self.grant.steps)?;
            self.run.log.get_or_init(|| Mutex::new(log));
        }
        Ok(self.run.log.get().map(lock))
    }
}
