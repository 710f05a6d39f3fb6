//! One delivery: which message it is, and one attempt at it.

use std::fmt::Display;
use std::future::Future;

use idempotent_core::__private::caught;
use idempotent_core::protocol::Failures;
use idempotent_core::{
    Attempt, BoxError, CountErrors, Ending, Error, Fingerprint, Key, OnAbandoned, OnCancel,
    OnConflict, OnPanic, Operation, Outcome, StoreError, UnrecordedErrors,
};
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use tokio::time::timeout;

use crate::config::{Compare, Config, MissingId};
use crate::consumer::Consumer;
use crate::ended::{Ended, Failure, Verdict};
use crate::events::{EventKind, Subject};
use crate::handler::{Context, HandlerError};
use crate::message::{Message, MessageId};
use crate::settle::{Capabilities, Delivery, Settle};
use crate::stop::Stop;

/// What an attempt has come to, or what was found in its place.
pub(crate) type Reply<T> = Result<Outcome<T>, Ended>;

/// One delivery, with everything decided that can be decided before the claim.
pub(crate) struct Call<'a> {
    pub(crate) consumer: &'a Consumer,
    pub(crate) message: &'a Message,
    /// What makes it the same message; `None` if it is to run without protection.
    pub(crate) key: Option<Key>,
    fingerprint: Option<Fingerprint>,
    pub(crate) broker: Capabilities,
    pub(crate) hint: Option<u32>,
    stop: &'a Stop,
}

/// Why a delivery is not even claimed.
pub(crate) enum NotAdmitted {
    /// It cannot be compared.
    Digest(BoxError),
    MissingId,
}

impl<'a> Call<'a> {
    /// Finds the message's id, once and for all: whatever a handler does to the message, its result is
    /// recorded under the id that was claimed.
    pub(crate) fn admit<S: Settle>(
        consumer: &'a Consumer,
        delivery: &'a Delivery<S>,
        stop: &'a Stop,
    ) -> Result<Self, NotAdmitted> {
        let (config, message) = (consumer.config(), &delivery.message);
        let (id, key) = identify(config, message);
        if key.is_none() && config.missing_id != MissingId::RunUnprotected {
            return Err(NotAdmitted::MissingId);
        }
        if id.as_ref().is_some_and(|id| !id.is_producers()) {
            consumer.shared().tell_of_positions();
        }
        let fingerprint = compared(&config.compare, message, id.as_ref());
        Ok(Self {
            consumer,
            message,
            key,
            fingerprint: fingerprint.map_err(NotAdmitted::Digest)?,
            broker: delivery.settle.capabilities(),
            hint: delivery.settle.attempts_hint(),
            stop,
        })
    }

    /// The engine's operation for this message.
    pub(crate) fn operation(&self) -> Operation<CountErrors<UnrecordedErrors, Ended>> {
        self.operation_in(&self.consumer.config().scope)
    }

    fn operation_in(&self, scope: &str) -> Operation<CountErrors<UnrecordedErrors, Ended>> {
        let config = self.consumer.config();
        let operation = config
            .engine
            .operation(scope.to_owned())
            .key(self.key.as_ref().map(Key::value))
            .lease(config.lease(&self.broker))
            .ttl(config.retention)
            .on_abandoned(OnAbandoned::Rerun)
            .on_cancel(OnCancel::Release)
            .on_conflict(OnConflict::Wait(config.in_progress_wait))
            .on_panic(OnPanic::Release)
            .on_store_failure(config.on_store_failure)
            .count_failures(Ended::failures as fn(&Ended) -> Failures);
        match &self.fingerprint {
            Some(fingerprint) => operation.fingerprint(&Digested(fingerprint.as_bytes())),
            None => operation,
        }
    }

    /// Runs the handler, unless it has failed too often already.
    pub(crate) async fn attempt<T, F>(
        &self,
        attempt: Attempt,
        handler: impl FnOnce(Message, Context) -> F + Send,
    ) -> Reply<T>
    where
        F: Future<Output = Result<T, HandlerError>> + Send,
    {
        if attempt.previous() == Some(Ending::Expired) {
            let number = attempt.number();
            self.emit(EventKind::Takeover, &format_args!("attempt {number}"));
        }
        if self.failures(&attempt) >= self.consumer.config().max_attempts {
            return Err(Ended::Failed(self.judge(None, &attempt)));
        }
        let context = Context::new(attempt.clone(), self.stop.clone());
        let message = self.message.clone();
        let ended = self
            .run(async move { handler(message, context).await })
            .await;
        match ended {
            Ok(value) => Ok(Outcome::new(value)),
            Err(_) if attempt.is_lease_lost() => Err(Ended::LeaseLost),
            Err(_) if self.stop.is_cancelled() => Err(Ended::Cancelled),
            Err(error) => Err(Ended::Failed(self.judge(Some(error), &attempt))),
        }
    }

    /// Runs a handler to its end, its panic, or its timeout.
    pub(crate) async fn run<T>(
        &self,
        handler: impl Future<Output = Result<T, HandlerError>> + Send,
    ) -> Result<T, HandlerError> {
        let limited = async {
            match self.consumer.config().handler_timeout {
                None => handler.await,
                Some(limit) => timeout(limit, handler).await.unwrap_or_else(|_| {
                    let reason = format!("the handler took longer than {limit:?}");
                    Err(HandlerError::retryable(reason))
                }),
            }
        };
        caught(limited).await.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().map(ToString::to_string);
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            let text = text.unwrap_or_default();
            Err(HandlerError::retryable(format!(
                "the handler panicked: {text}"
            )))
        })
    }

    /// How often the handler has failed at this message before.
    fn failures(&self, attempt: &Attempt) -> u32 {
        let counted = attempt.failures();
        match self.hint {
            Some(hint) if self.broker.counts_failures_only => counted.max(hint),
            _ => counted,
        }
    }

    /// What follows from an `error`, or from so many earlier ones that the handler did not run.
    fn judge(&self, error: Option<HandlerError>, attempt: &Attempt) -> Failure {
        let failures = self
            .failures(attempt)
            .saturating_add(error.is_some().into());
        let verdict = if error.as_ref().is_some_and(HandlerError::is_permanent) {
            Verdict::Permanent
        } else if failures >= self.consumer.config().max_attempts {
            Verdict::Exhausted
        } else {
            Verdict::Retryable
        };
        Failure {
            attempt: attempt.number(),
            failures,
            error,
            verdict,
        }
    }

    /// Counts a failure that has left no trace, in a record of this `scope`: by an attempt that fails at
    /// once, with the same error.
    pub(crate) async fn count<T>(&self, reply: Reply<T>, scope: &str) -> Reply<T>
    where
        T: Serialize + DeserializeOwned + Send,
    {
        let failure = match reply {
            Err(Ended::Failed(failure)) => failure,
            Err(Ended::Engine(error)) if is_handlers(&error) => {
                Failure::uncounted(rolled_back(error))
            }
            reply => return reply,
        };
        let mut uncounted = Some(failure);
        let operation = self.operation_in(scope).on_conflict(OnConflict::Fail);
        let counted: Reply<T> = operation
            .run_with(|attempt| {
                let error = uncounted.take().and_then(|failure| failure.error);
                let failure = self.judge(error, &attempt);
                async move { Err(Ended::Failed(failure)) }
            })
            .await;
        match (counted, uncounted) {
            // Nobody could count. The broker does, by the retry.
            (Err(Ended::Engine(_)), Some(failure)) => Err(Ended::Failed(failure)),
            (counted, _) => counted,
        }
    }

    pub(crate) fn emit(&self, kind: EventKind, detail: &dyn Display) {
        let subject = Subject {
            config: self.consumer.config(),
            key: self.key.as_ref(),
            hint: self.hint,
        };
        self.consumer.shared().events.emit(kind, &subject, detail);
    }
}

/// What makes `message` the same message, and under which key that is recorded.
pub(crate) fn identify(config: &Config, message: &Message) -> (Option<MessageId>, Option<Key>) {
    let id = match &config.find_id {
        Some(find) => find(message),
        None => message.id.clone(),
    };
    let key = id.as_ref().map(|id| Key::new(&config.scope, id.as_str()));
    (id, key.and_then(Result::ok))
}

/// Whether the handler is to blame for a transaction that was rolled back: it swallowed an error, or has
/// a result that cannot be recorded.
fn is_handlers(error: &Error) -> bool {
    matches!(error, Error::RolledBack { source, .. } if !source.is_transient())
}

fn rolled_back(error: Error) -> HandlerError {
    let is_unencodable = matches!(
        &error,
        Error::RolledBack { source: StoreError::Backend(source), .. }
            if source.is::<idempotent_core::__private::Unencodable>()
    );
    if is_unencodable {
        HandlerError::permanent(error)
    } else {
        HandlerError::retryable(error)
    }
}

fn compared(
    compare: &Compare,
    message: &Message,
    id: Option<&MessageId>,
) -> Result<Option<Fingerprint>, BoxError> {
    Ok(match compare {
        Compare::Body if id.is_some_and(MessageId::is_producers) => {
            Some(Fingerprint::of(&Digested(&message.body))?)
        }
        Compare::Body | Compare::Nothing => None,
        Compare::By(digest) => Some(digest(message)?),
    })
}

/// Bytes that are digested as a whole.
struct Digested<'a>(&'a [u8]);

impl Serialize for Digested<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}
