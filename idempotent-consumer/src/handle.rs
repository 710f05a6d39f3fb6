//! One delivery from its hand-over to its settlement.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use crate::disposition::Disposition;
use crate::events::EventKind;
use crate::hold::Holds;
use crate::mode::Mode;
use crate::outcome::Processed;
use crate::race::{First, race};
use crate::settle::{Delivery, Settle, SettleError};
use crate::stop::Stop;
use crate::worker::Worker;

/// What the deliveries of one run share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) holds: Holds,
    /// One for each handler that may run.
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) stop: Stop,
}

impl Shared {
    /// For a delivery that is handled by itself.
    fn alone() -> Self {
        Self {
            holds: Holds::new(usize::MAX),
            slots: Arc::new(Semaphore::new(1)),
            stop: Stop::never(),
        }
    }

    pub(crate) async fn slot(&self, handlers: u32) -> OwnedSemaphorePermit {
        let slot = Arc::clone(&self.slots).acquire_many_owned(handlers);
        slot.await.expect("nobody closes the semaphore")
    }
}

impl<M: Mode> Worker<M> {
    /// Handles one message, unless it has taken effect before, and settles its delivery.
    ///
    /// While the handler runs, the delivery is [extended](Settle::extend). One that is to come again
    /// later is held for that time if its broker cannot wait.
    ///
    /// # Cancel safety
    ///
    /// As for [`process`](Self::process); the delivery is left unsettled.
    pub async fn handle<S: Settle>(&self, delivery: Delivery<S>) -> Processed<M::Value> {
        let shared = Shared::alone();
        let slot = shared.slot(1).await;
        self.handle_with(delivery, &shared, slot).await
    }

    pub(crate) async fn handle_with<S: Settle>(
        &self,
        delivery: Delivery<S>,
        shared: &Shared,
        slot: OwnedSemaphorePermit,
    ) -> Processed<M::Value> {
        let work = self.process_or_hold(&delivery, shared, slot);
        let Processed {
            outcome,
            disposition,
        } = match race(work, self.extend(&delivery)).await {
            First::A(processed) => processed,
            First::B(never) => match never {},
        };
        let outcome = self.tell_duplicate(&delivery.message, outcome).await;
        self.settle(delivery, &disposition).await;
        Processed {
            outcome,
            disposition,
        }
    }

    /// Handles a message; and again, if it is better held for a while than given back.
    async fn process_or_hold<S: Settle>(
        &self,
        delivery: &Delivery<S>,
        shared: &Shared,
        mut slot: OwnedSemaphorePermit,
    ) -> Processed<M::Value> {
        let broker = delivery.settle.capabilities();
        let hold_max = self.consumer.config().hold_max;
        let mut held = Duration::ZERO;
        loop {
            let mut processed = self.process_until(delivery, &shared.stop).await;
            drop(slot);
            let Disposition::Retry { after, counted } = processed.disposition else {
                return processed;
            };
            // To give it back would count as a failure, which it is not.
            let is_kept = !counted && broker.counts_every_retry;
            let goes_back = !is_kept || held >= hold_max;
            if goes_back && (broker.delays_retries || is_kept && !held.is_zero()) {
                return processed;
            }
            let place = shared.holds.hold();
            let pause = place.pause(if goes_back {
                after
            } else {
                after.min(hold_max.saturating_sub(held))
            });
            if let First::B(()) = race(sleep(pause), shared.stop.draining()).await {
                processed.disposition = Disposition::Leave;
                return processed;
            }
            if goes_back {
                return processed;
            }
            drop(place);
            held += pause;
            slot = shared.slot(1).await;
        }
    }

    /// Keeps the delivery from coming to somebody else. If that fails, the record still protects it.
    async fn extend<S: Settle>(&self, delivery: &Delivery<S>) -> Infallible {
        let Some(visibility) = delivery.settle.capabilities().visibility else {
            return std::future::pending().await;
        };
        let each = visibility / 3;
        loop {
            sleep(each).await;
            let extended = timeout(each, delivery.settle.extend(visibility)).await;
            let extended = extended
                .unwrap_or_else(|late| Err(SettleError::new("extension of the delivery", late)));
            if let Err(error) = extended {
                self.emit(delivery, EventKind::SettleError, &error);
            }
        }
    }

    /// Tells the broker, once. If it did not hear, it delivers the message again, which is a duplicate.
    async fn settle<S: Settle>(&self, delivery: Delivery<S>, disposition: &Disposition) {
        let Delivery { message, settle } = delivery;
        let hint = settle.attempts_hint();
        let settled = match disposition {
            Disposition::Ack => settle.ack().await,
            Disposition::DeadLetter(reason) => settle.dead_letter(reason).await,
            Disposition::Leave => Ok(()),
            Disposition::Retry { after, counted } => settle.retry(*after, *counted).await,
        };
        if let Err(error) = settled {
            self.emit_of(&message, hint, EventKind::SettleError, &error);
        }
    }
}
