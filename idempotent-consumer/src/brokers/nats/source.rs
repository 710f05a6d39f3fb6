use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use futures_util::StreamExt;
use idempotent_core::BoxError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::entry::{Position, read};
use super::{JetStream, NatsSettle};
use crate::backoff::{Backoff, about};
use crate::config::prefetch;
use crate::settle::{Capabilities, Delivery};
use crate::source::{Source, SourceError};

/// How long the server waits for new messages before it answers that there are no more.
const WAIT: Duration = Duration::from_secs(1);
/// How much later than that the answer may come, before the request is taken for lost.
const GRACE: Duration = Duration::from_secs(2);
/// The pauses while the server cannot be reached: at first, and at last.
const RECONNECT: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// The messages of a [`JetStream`] for one process. When it is dropped, what it has not settled comes again
/// after the consumer's `ack_wait`.
#[derive(Debug)]
pub struct NatsSource {
    capabilities: Capabilities,
    deliveries: mpsc::Receiver<Delivery<NatsSettle>>,
    reading: AbortHandle,
}

/// What asks for messages, in a task of its own: what a request has brought is not lost with the caller.
struct Reader {
    broker: Arc<JetStream>,
    consumer: PullConsumer,
    capabilities: Capabilities,
    places: Arc<Semaphore>,
    deliveries: mpsc::Sender<Delivery<NatsSettle>>,
}

impl NatsSource {
    pub(super) fn start(
        broker: Arc<JetStream>,
        consumer: PullConsumer,
        capabilities: Capabilities,
    ) -> Self {
        let prefetch = prefetch(&capabilities);
        // No more than there are places for, so that the reader never waits to hand out.
        let (sender, deliveries) = mpsc::channel(prefetch);
        let reader = Reader {
            broker,
            consumer,
            capabilities,
            places: Arc::new(Semaphore::new(prefetch)),
            deliveries: sender,
        };
        let reading = tokio::spawn(reader.run()).abort_handle();
        Self {
            capabilities,
            deliveries,
            reading,
        }
    }
}

impl Source for NatsSource {
    type Settle = NatsSettle;

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    async fn next(&mut self) -> Result<Option<Delivery<NatsSettle>>, SourceError> {
        // The task ends with this, and not before.
        Ok(self.deliveries.recv().await)
    }
}

impl Drop for NatsSource {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Reader {
    async fn run(self) -> Infallible {
        let mut failures = 0;
        loop {
            match self.read().await {
                Ok(()) => failures = 0,
                Err(error) => {
                    tracing::warn!(target: "idempotency::consumer", %error, "a stream cannot be read");
                    failures += 1;
                    sleep(about(RECONNECT.longest(failures))).await;
                }
            }
        }
    }

    /// Asks for as many messages as there are places for, and hands out what comes.
    async fn read(&self) -> Result<(), BoxError> {
        let mut places = self.places().await;
        let batch = self.consumer.batch().max_messages(places.len());
        let mut batch = batch.expires(WAIT).messages().await?;
        // A request that the server has lost is never answered.
        let deadline = Instant::now() + WAIT + GRACE;
        while let Some(place) = places.pop() {
            let Some(message) = timeout_at(deadline, batch.next()).await? else {
                break;
            };
            self.hand_out(message?, place).await?;
        }
        Ok(())
    }

    /// All free places, of which it waits for the first.
    async fn places(&self) -> Vec<OwnedSemaphorePermit> {
        let first = Arc::clone(&self.places).acquire_owned().await;
        let mut places = vec![first.expect("nobody closes the semaphore")];
        while let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            places.push(place);
        }
        places
    }

    async fn hand_out(
        &self,
        delivered: async_nats::jetstream::Message,
        place: OwnedSemaphorePermit,
    ) -> Result<(), BoxError> {
        let info = delivered.info()?;
        let (sequence, deliveries) = (info.stream_sequence, info.delivered);
        let (delivered, acker) = delivered.split();
        let position = Position {
            stream: &self.broker.stream,
            sequence,
        };
        let message = read(delivered, position);
        let settle = NatsSettle {
            broker: Arc::clone(&self.broker),
            capabilities: self.capabilities,
            acker,
            message: message.clone(),
            sequence,
            delivered: deliveries,
            _place: place,
        };
        // Nobody is there to take it: it comes again.
        _ = self.deliveries.send(Delivery::new(message, settle)).await;
        Ok(())
    }
}
