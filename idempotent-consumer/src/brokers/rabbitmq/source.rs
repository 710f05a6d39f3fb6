use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::Consumer;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::session::Session;
use super::settle::RabbitSettle;
use super::{RabbitError, RabbitQueue, entry};
use crate::backoff::{Backoff, about};
use crate::settle::{Capabilities, Delivery};
use crate::source::{Source, SourceError};

/// The pauses while the server cannot be reached: at first, and at last.
const RECONNECT: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// The messages of a [`RabbitQueue`]. It connects anew when it has to. When it is dropped, what it has not
/// settled goes to others, as soon as nobody here handles any of it.
#[derive(Debug)]
pub struct RabbitSource {
    queue: RabbitQueue,
    deliveries: mpsc::Receiver<Delivery<RabbitSettle>>,
    reading: AbortHandle,
}

/// What the server delivers, for as long as the connection lasts.
type Open = (Arc<Session>, Consumer);

pub(super) async fn open(queue: RabbitQueue) -> Result<RabbitSource, RabbitError> {
    let first = consume(&queue).await?;
    let (sender, deliveries) = mpsc::channel(1);
    let reading = tokio::spawn(read(queue.clone(), first, sender)).abort_handle();
    Ok(RabbitSource {
        queue,
        deliveries,
        reading,
    })
}

impl Source for RabbitSource {
    type Settle = RabbitSettle;

    fn capabilities(&self) -> Capabilities {
        self.queue.capabilities()
    }

    async fn next(&mut self) -> Result<Option<Delivery<RabbitSettle>>, SourceError> {
        // The task ends with this, and not before.
        Ok(self.deliveries.recv().await)
    }
}

impl Drop for RabbitSource {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn consume(queue: &RabbitQueue) -> Result<Open, RabbitError> {
    let session = Session::connect(&queue.url, queue.prefetch).await?;
    let consumer = session.consume(&queue.queue).await?;
    Ok((Arc::new(session), consumer))
}

async fn read(queue: RabbitQueue, first: Open, sender: mpsc::Sender<Delivery<RabbitSettle>>) {
    let mut open = first;
    loop {
        forward(&queue, open, &sender).await;
        let mut failures = 0;
        open = loop {
            failures += 1;
            sleep(about(RECONNECT.longest(failures))).await;
            match Box::pin(consume(&queue)).await {
                Ok(open) => break open,
                Err(error) => warn(&error),
            }
        };
    }
}

/// Hands out what is delivered, until the connection is lost or the queue is deleted.
async fn forward(
    queue: &RabbitQueue,
    (session, mut consumer): Open,
    sender: &mpsc::Sender<Delivery<RabbitSettle>>,
) {
    while let Some(delivery) = consumer.next().await {
        let mut delivery = match delivery {
            Ok(delivery) => delivery,
            Err(error) => return warn(&error.into()),
        };
        let mut message = entry::read(&delivery);
        message.body = std::mem::take(&mut delivery.data).into();
        let settle = RabbitSettle {
            queue: queue.clone(),
            session: Arc::clone(&session),
            acker: delivery.acker,
            message: message.clone(),
            properties: delivery.properties,
        };
        // Nobody is there to take it: it goes to others.
        _ = sender.send(Delivery::new(message, settle)).await;
    }
}

fn warn(error: &RabbitError) {
    let source = std::error::Error::source(error).map(ToString::to_string);
    tracing::warn!(target: "idempotency::consumer", %error, source, "a queue cannot be consumed from");
}
