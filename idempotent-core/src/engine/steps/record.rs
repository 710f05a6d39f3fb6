//! Steps that run under a lease, and how they get into the record.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::entry::{Entry, input_name};
use super::{Attempt, StepError, Stop};
use crate::engine::EventKind;
use crate::engine::claim::Call;
use crate::engine::detach::ToTheEnd;
use crate::engine::running::Held;
use crate::error::{Error, StoreError};
use crate::protocol::{Grant, StepReply};
use crate::record::{Payload, Step};
use crate::sync::time::{Instant, sleep};

/// The pauses between tries to record a step: at first, and at last.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// A step that runs. If it is dropped before it has ended, nothing more can be recorded.
pub(super) struct Open<'a> {
    attempt: &'a Attempt,
    name: &'a str,
    place: u32,
    has_ended: bool,
}

impl Attempt {
    /// Begins to run the step `name`, unless something has happened since it was built that keeps it from
    /// being recorded.
    pub(super) fn open<'a>(&'a self, name: &'a str, place: u32) -> Result<Open<'a>, Error> {
        let (mut log, _) = self.log()?;
        log.check(name)?;
        drop(log);
        Ok(Open {
            attempt: self,
            name,
            place,
            has_ended: false,
        })
    }
}

impl Open<'_> {
    /// Ends the step without a record.
    pub(super) fn close(mut self) {
        self.has_ended = true;
    }

    /// Records `value`, and returns what is recorded.
    pub(super) async fn keep<T: Serialize + DeserializeOwned>(
        mut self,
        value: T,
    ) -> Result<T, Error> {
        // Encoded before the next await, so that the future is `Send` though no reference may be.
        let step = self.encode(&value);
        let known = match step {
            Ok(step) => self.attempt.record(step).await,
            Err(error) => Err(self.refuse(error)),
        };
        self.has_ended = true;
        match known? {
            None => Ok(value),
            Some(payload) => self.attempt.decode(&payload),
        }
    }

    /// `value`, as the record is to keep it.
    pub(super) fn encode<T: Serialize>(&self, value: &T) -> Result<Step, Error> {
        let (call, _) = self.attempt.held().ok_or(Error::NoEngine)?;
        let rules = call.rules();
        let step = || self.name.to_owned();
        let payload = call
            .encode_any(value)
            .map_err(|source| StepError::Unencodable {
                step: step(),
                source,
            })?;
        let (bytes, limit) = (payload.bytes.len(), rules.limits.step_size);
        if bytes > limit {
            let step = step();
            return Err(StepError::TooLarge { step, bytes, limit }.into());
        }
        let entry = Entry {
            place: self.place,
            version: rules.version.to_owned(),
            payload,
        };
        Ok(entry.to_step(self.name))
    }

    /// Takes note that the step ran, and is not recorded.
    pub(super) fn refuse(&self, error: Error) -> Error {
        self.attempt.unrecorded(self.name);
        error
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.attempt.stop(Stop::Abandoned(self.name.to_owned()));
        }
    }
}

impl Attempt {
    /// Records `step`, even if nobody waits for it. Returns what is recorded in its place, if something
    /// is.
    async fn record(&self, step: Step) -> Result<Option<Payload>, Error> {
        let (call, grant) = self.held().ok_or(Error::NoEngine)?;
        let recording = Arc::clone(call).record_step(Arc::clone(grant), step.clone());
        match ToTheEnd::new(call, recording).await {
            Ok(StepReply::Known(value)) if value != step.value => {
                Ok(Some(Entry::read(&value)?.payload))
            }
            Ok(StepReply::Known(_) | StepReply::Recorded) => {
                self.kept(&step);
                Ok(None)
            }
            Ok(StepReply::Lost(_)) => Err(self.lost(&step.name).into()),
            Err(source) => {
                self.unrecorded(&step.name);
                let (step, store) = (step.name, call.shared().store.name());
                Err(StepError::Unrecorded {
                    step,
                    store,
                    source,
                }
                .into())
            }
        }
    }

    /// Takes note that `step` is recorded.
    pub(super) fn kept(&self, step: &Step) {
        if let Ok((mut log, _)) = self.log() {
            log.keep(step.value.len());
        }
    }

    /// Takes note that another attempt has taken over before the step `name` was recorded.
    pub(super) fn lost(&self, name: &str) -> StepError {
        self.stop(Stop::LeaseLost);
        if let Some((call, _)) = self.held()
            && self.run.lease.lose()
        {
            call.emit(EventKind::LeaseLost, &"a step was refused");
        }
        let step = name.to_owned();
        StepError::LeaseLost { step }
    }

    /// Takes note that the step `name` ran, and is not recorded.
    pub(super) fn unrecorded(&self, name: &str) {
        if let Ok((mut log, _)) = self.log() {
            log.stop(Stop::Unrecorded(name.to_owned()));
            log.refuse();
        }
    }

    /// Takes note that nothing more can be recorded.
    pub(super) fn stop(&self, stop: Stop) {
        if let Ok((mut log, _)) = self.log() {
            log.stop(stop);
        }
    }
}

impl Held {
    /// The same attempt with the arguments of its call recorded, if they are to be, or `None` if another
    /// attempt has taken over.
    pub(crate) async fn with_input(self) -> Result<Option<Self>, Error> {
        let Some(payload) = &self.call.input else {
            return Ok(Some(self));
        };
        let name = input_name(self.call.fingerprint);
        if self.grant.steps.iter().any(|step| step.name == name) {
            return Ok(Some(self));
        }
        let entry = Entry {
            place: 0,
            version: self.call.shared().version.to_string(),
            payload: payload.clone(),
        };
        let (call, grant) = (Arc::clone(&self.call), Arc::clone(&self.grant));
        let recording = call.record_step(grant, entry.to_step(&name));
        match Box::pin(ToTheEnd::new(&self.call, recording)).await {
            Ok(StepReply::Lost(_)) => Ok(None),
            Ok(StepReply::Known(_) | StepReply::Recorded) => Ok(Some(self)),
            Err(error) => Err(self.call.store_error(error)),
        }
    }
}

impl Call {
    /// Records `step`, for as long as a caller is patient. The lease is renewed meanwhile by whoever
    /// drives the operation.
    pub(crate) async fn record_step(
        self: Arc<Self>,
        grant: Arc<Grant>,
        step: Step,
    ) -> Result<StepReply, StoreError> {
        let until = Instant::now() + self.shared().record_patience;
        let mut pause = PAUSE.0;
        loop {
            let store = &self.shared().store;
            let error = match store
                .record_step(&self.key, &grant, &step, self.policy.lease)
                .await
            {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            self.emit(EventKind::StoreError, &error);
            if !error.is_transient() || Instant::now() + pause >= until {
                return Err(error);
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }
}
