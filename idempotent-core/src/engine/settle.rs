//! What the store is told of an operation that has ended, and what its caller is told of that.

use std::sync::Arc;
use std::time::Duration;

use super::EventKind;
use super::claim::{Call, Claimed};
use super::detach::ToTheEnd;
use super::running::{ErrorEnd, Held};
use crate::codec::CodecId;
use crate::error::StoreError;
use crate::protocol::{Completion, Found, Grant, Recorded, Release, ReleaseMode, Update};
use crate::record::{Ending, Payload};
use crate::sync::time::{Instant, sleep};

/// The pauses between tries to record a result: at first, and at last.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// What has become of a result.
#[derive(Debug)]
pub(crate) enum Settled {
    /// Another attempt may have run, and no result of it is there.
    LeaseLost,
    /// It is recorded; the value too, or only that there was one.
    Recorded { kept: bool },
    /// Another attempt's result counts.
    Superseded(Recorded),
    /// The store has not taken it; it is being recorded in the background.
    Unrecorded(StoreError),
}

/// What the store has said of a completion, in the end.
enum Told {
    Lost(Option<Found>),
    Recorded { kept: bool },
    Unrecorded(StoreError),
}

impl Held {
    /// Records a result, even if nobody waits for it.
    pub(crate) async fn complete(self, completion: Completion) -> (Self, Settled) {
        let recorder = Recorder {
            call: Arc::clone(&self.call),
            grant: Arc::clone(&self.grant),
            completion,
            began: Instant::now(),
        };
        let settled = match ToTheEnd::new(&self.call, recorder.record()).await {
            Told::Recorded { kept } => Settled::Recorded { kept },
            Told::Unrecorded(error) => Settled::Unrecorded(error),
            Told::Lost(found) => Box::pin(self.superseded(found)).await,
        };
        (self, settled)
    }

    /// Ends the attempt after an error. Returns a result that counts in its place, if another
    /// attempt has one.
    pub(crate) async fn settle_error(self, end: ErrorEnd) -> Option<(Arc<Call>, Recorded)> {
        let release = match end {
            ErrorEnd::Clean => Release::new(Ending::Clean, ReleaseMode::Free),
            ErrorEnd::Hold => Release::new(Ending::Error, ReleaseMode::Hold),
            ErrorEnd::Release(failures) => Release {
                failures,
                ..Release::new(Ending::Error, ReleaseMode::Free)
            },
            ErrorEnd::Stuck { parks: false } => Release::new(Ending::Stuck, ReleaseMode::Free),
            ErrorEnd::Stuck { parks: true } => Release::new(Ending::Stuck, ReleaseMode::Hold),
            ErrorEnd::Superseded => {
                let call = Arc::clone(&self.call);
                return self.winner().await.map(|recorded| (call, recorded));
            }
            ErrorEnd::Record(payload) => {
                let completion = Completion::error(payload, self.call.policy.ttl);
                let (held, settled) = self.complete(completion).await;
                return match settled {
                    Settled::Superseded(recorded) => Some((Arc::clone(&held.call), recorded)),
                    Settled::LeaseLost | Settled::Recorded { .. } | Settled::Unrecorded(_) => None,
                };
            }
        };
        self.call
            .emit(EventKind::Executed, &"an error, which is not recorded");
        self.tell(release).await;
        None
    }

    /// Finds the result that counts in place of a late owner's.
    async fn superseded(&self, found: Option<Found>) -> Settled {
        let Some(found) = found else {
            return Settled::LeaseLost;
        };
        self.call.emit(
            EventKind::DoubleExecution,
            &format_args!("{:?}", found.state),
        );
        if let Some(recorded) = found.recorded {
            let same = recorded.fingerprint == self.call.fingerprint;
            return if same {
                Settled::Superseded(recorded)
            } else {
                Settled::LeaseLost
            };
        }
        match self.winner().await {
            Some(recorded) => Settled::Superseded(recorded),
            None => Settled::LeaseLost,
        }
    }

    /// The result of the attempt that has taken over. If it still runs, that is worth waiting for. A grant
    /// is given back unused.
    async fn winner(&self) -> Option<Recorded> {
        match self.call.claim().await {
            Ok(Claimed::Done(recorded)) => Some(recorded),
            Ok(Claimed::Granted(_) | Claimed::InDoubt(_)) | Err(_) => None,
        }
    }
}

/// Gets one result into the store.
struct Recorder {
    call: Arc<Call>,
    grant: Arc<Grant>,
    completion: Completion,
    began: Instant,
}

impl Recorder {
    /// Tries for as long as a caller is patient, and goes on in the background after that.
    async fn record(mut self) -> Told {
        let patience = self.call.shared().record_patience;
        match self.try_from(self.began, patience).await {
            Told::Unrecorded(error) => {
                self.call.emit(EventKind::Unrecorded, &error);
                if error.is_transient() {
                    let call = Arc::clone(&self.call);
                    call.shared().background.spawn(self.record_late());
                }
                Told::Unrecorded(error)
            }
            told => told,
        }
    }

    /// Goes on until a lost record could no longer be healed.
    async fn record_late(mut self) {
        let now = Instant::now();
        let rest = self.grant.healing_window().saturating_sub(now - self.began);
        if let Told::Unrecorded(error) = self.try_from(now, rest).await {
            self.call.emit(EventKind::Unrecorded, &error);
        }
    }

    async fn try_from(&mut self, now: Instant, patience: Duration) -> Told {
        let until = now + patience;
        let mut sent = now;
        let mut pause = PAUSE.0;
        loop {
            let store = &self.call.shared().store;
            let error = match store
                .complete(&self.call.key, &self.grant, &self.completion)
                .await
            {
                Ok(Update::Applied | Update::Healed | Update::Repeated) => {
                    self.call.executed(&self.grant, &self.completion, sent);
                    return Told::Recorded {
                        kept: self.completion.payload.codec != CodecId::NONE,
                    };
                }
                Ok(Update::Lost(found)) => return Told::Lost(found),
                Err(error) => error,
            };
            self.call.emit(EventKind::StoreError, &error);
            match &error {
                // It would be refused again, perhaps for its size. That it happened must be kept.
                StoreError::Backend(_) if !self.completion.payload.bytes.is_empty() => {
                    self.completion.payload = Payload::default();
                    continue;
                }
                _ if !error.is_transient() || Instant::now() + pause >= until => {
                    return Told::Unrecorded(error);
                }
                _ => {}
            }
            // As long as there is a lease, nobody takes over; whether it was renewed shows later.
            _ = store
                .renew(&self.call.key, &self.grant, self.call.policy.lease)
                .await;
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
            sent = Instant::now();
        }
    }
}

impl Call {
    /// Takes note that `completion` is recorded, by what was sent at `sent`.
    pub(crate) fn executed(&self, grant: &Grant, completion: &Completion, sent: Instant) {
        let attempt = format_args!("attempt {}", grant.attempt);
        self.emit(EventKind::Executed, &attempt);
        if self.shared().near_cache.is_some() {
            self.remember(&Recorded::by(grant, completion), sent);
        }
    }
}
