use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use idempotent_core::Owner;
use redis::streams::{StreamAutoClaimReply, StreamId, StreamReadReply};
use redis::{RedisError, cmd};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::link::Link;
use super::settle::{RedisSettle, capabilities, millis};
use super::{RedisStream, entry};
use crate::backoff::{Backoff, about};
use crate::settle::{Capabilities, Delivery};
use crate::source::{Source, SourceError};

/// How long the server waits for a new entry before it answers that there is none.
const BLOCK: Duration = Duration::from_secs(1);
/// The pauses while the server cannot be reached: at first, and at last.
const RECONNECT: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// The entries of a [`RedisStream`] for one consumer. When it is dropped, what it has not settled goes to
/// others once it has been idle for the visibility.
#[derive(Debug)]
pub struct RedisSource {
    stream: RedisStream,
    deliveries: mpsc::Receiver<Delivery<RedisSettle>>,
    reading: AbortHandle,
}

/// What reads, in a task of its own: a command that is cut off may have been delivered.
struct Reader {
    stream: RedisStream,
    link: Link,
    consumer: Arc<str>,
    places: Arc<Semaphore>,
    deliveries: mpsc::Sender<Delivery<RedisSettle>>,
    /// When to look for entries that others have left.
    next_look: Instant,
}

impl RedisSource {
    pub(super) fn start(stream: RedisStream) -> Self {
        let (sender, deliveries) = mpsc::channel(1);
        // Without randomness, two consumers of one name share what they have, which does no harm.
        let name = Owner::random().map_or_else(|_| "consumer".to_owned(), |name| name.to_string());
        let reader = Reader {
            link: stream.link.another(),
            consumer: name.into(),
            places: Arc::new(Semaphore::new(stream.prefetch)),
            deliveries: sender,
            next_look: Instant::now(),
            stream: stream.clone(),
        };
        let reading = tokio::spawn(reader.run()).abort_handle();
        Self {
            stream,
            deliveries,
            reading,
        }
    }
}

impl Source for RedisSource {
    type Settle = RedisSettle;

    fn capabilities(&self) -> Capabilities {
        capabilities(&self.stream)
    }

    async fn next(&mut self) -> Result<Option<Delivery<RedisSettle>>, SourceError> {
        // The task ends with this, and not before.
        Ok(self.deliveries.recv().await)
    }
}

impl Drop for RedisSource {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Reader {
    async fn run(mut self) -> Infallible {
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

    /// Reads as many entries as there are places for, and hands them out.
    async fn read(&mut self) -> Result<(), RedisError> {
        let mut places = self.places().await;
        if Instant::now() >= self.next_look {
            let left = self.abandoned(places.len()).await?;
            if left.len() < places.len() {
                self.next_look = Instant::now() + self.stream.visibility / 4;
            }
            self.hand_out(left, &mut places).await;
        }
        if !places.is_empty() {
            let new = self.fresh(places.len()).await?;
            self.hand_out(new, &mut places).await;
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

    /// Takes over what others have left idle for too long.
    async fn abandoned(&self, count: usize) -> Result<Vec<StreamId>, RedisError> {
        let stream = &self.stream;
        let mut claim = cmd("XAUTOCLAIM");
        claim
            .arg(&*stream.stream)
            .arg(&*stream.group)
            .arg(&*self.consumer);
        claim
            .arg(millis(stream.visibility))
            .arg("0-0")
            .arg("COUNT")
            .arg(count);
        let reply: StreamAutoClaimReply = self.link.ask(&claim).await?;
        Ok(reply.claimed)
    }

    /// Waits for what nobody has had yet; not longer than until it has to look for what others have left.
    async fn fresh(&self, count: usize) -> Result<Vec<StreamId>, RedisError> {
        let stream = &self.stream;
        let until_look = self.next_look.saturating_duration_since(Instant::now());
        let wait = BLOCK.min(until_look).max(Duration::from_millis(1));
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(&*stream.group).arg(&*self.consumer);
        read.arg("COUNT").arg(count).arg("BLOCK").arg(millis(wait));
        read.arg("STREAMS").arg(&*stream.stream).arg(">");
        let reply: Option<StreamReadReply> = self.link.ask(&read).await?;
        let keys = reply.map(|reply| reply.keys).unwrap_or_default();
        Ok(keys.into_iter().flat_map(|key| key.ids).collect())
    }

    async fn hand_out(&self, entries: Vec<StreamId>, places: &mut Vec<OwnedSemaphorePermit>) {
        for read in entries {
            let Some(place) = places.pop() else {
                return;
            };
            let id = read.id.clone();
            let message = entry::read(&self.stream.stream, read);
            let settle = RedisSettle {
                stream: self.stream.clone(),
                consumer: Arc::clone(&self.consumer),
                entry: id,
                message: message.clone(),
                _place: place,
            };
            // Nobody is there to take it: it goes to others.
            _ = self.deliveries.send(Delivery::new(message, settle)).await;
        }
    }
}
