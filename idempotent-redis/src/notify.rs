use std::collections::HashMap;
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use idempotent_core::{Key, Watch, Watchers};
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Client, RedisResult, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, interval_at, sleep, timeout};

use crate::error::Error;
use crate::reconnect::Reconnecting;

/// How long the server has to confirm a subscription, or to take a connection.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often idle subscriptions are ended, and the connection is tried.
const SWEEP: Duration = Duration::from_secs(15);
/// How long to wait before connecting again: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How many subscriptions are asked for in one command.
const BATCH: usize = 128;

/// Tells whoever waits in this process of the ends of attempts.
///
/// Each key has a channel of the same name. One connection reads them all. Messages can be lost, so
/// nothing depends on them but the time that a waiter waits.
#[derive(Debug)]
pub(crate) struct Notifications {
    servers: Servers,
    topics: Arc<Topics>,
    reader: Mutex<Option<Requests>>,
}

/// Whom to connect to.
#[derive(Clone, Debug)]
pub(crate) enum Servers {
    /// Any of these: they pass all messages on to each other.
    AnyOf(Arc<[Client]>),
    /// Whichever this is a connection to.
    Of(Reconnecting),
}

impl Servers {
    /// A client for the try with this number.
    async fn client(&self, number: usize) -> Result<Client, Error> {
        match self {
            Self::AnyOf(clients) => {
                let client = clients.get(number % clients.len().max(1));
                client.cloned().ok_or(Error::Timeout)
            }
            Self::Of(connection) => Ok(connection.client().await?),
        }
    }
}

type Requests = mpsc::UnboundedSender<Request>;

/// A wish to hear from a channel.
#[derive(Debug)]
struct Request {
    channel: String,
    done: oneshot::Sender<RedisResult<()>>,
}

/// Who watches which channel.
#[derive(Debug, Default)]
struct Topics(Mutex<HashMap<String, Topic>>);

#[derive(Debug, Default)]
struct Topic {
    watchers: Watchers,
    in_force: bool,
    /// Whether it was in force until the connection was lost.
    interrupted: bool,
}

impl Notifications {
    pub(crate) fn new(servers: Servers) -> Self {
        Self {
            servers,
            topics: Arc::default(),
            reader: Mutex::default(),
        }
    }

    /// Subscribes to `channel` on behalf of `key`. When this returns, the server has confirmed it.
    pub(crate) async fn watch(&self, key: &Key, channel: String) -> Result<Watch, Error> {
        let (watch, in_force) = self.topics.subscribe(key, &channel);
        if in_force {
            return Ok(watch);
        }
        let (done, told) = oneshot::channel();
        self.request(Request { channel, done });
        match timeout(PATIENCE, told).await {
            Ok(Ok(confirmed)) => confirmed.map(|()| watch).map_err(Error::Redis),
            // Too late, or the reader ended with its runtime.
            Err(_) | Ok(Err(_)) => Err(Error::Timeout),
        }
    }

    /// Hands a request to the reader, which is started if there is none: the first time, and when
    /// the runtime that it ran on is gone.
    fn request(&self, request: Request) {
        let mut reader = lock(&self.reader);
        let request = match reader.as_ref() {
            None => request,
            Some(requests) => match requests.send(request) {
                Ok(()) => return,
                Err(unsent) => unsent.0,
            },
        };
        let (requests, pending) = mpsc::unbounded_channel();
        _ = requests.send(request);
        let (servers, topics) = (self.servers.clone(), Arc::clone(&self.topics));
        tokio::spawn(
            Reader {
                servers,
                topics,
                requests: pending,
                tries: 0,
            }
            .run(),
        );
        *reader = Some(requests);
    }
}

/// The task that owns the connection. It ends with the last handle to the store.
struct Reader {
    servers: Servers,
    topics: Arc<Topics>,
    requests: mpsc::UnboundedReceiver<Request>,
    tries: usize,
}

/// Why reading came to an end.
enum End {
    /// Nobody is left to read for.
    Abandoned,
    /// The connection is lost.
    Lost,
}

impl Reader {
    async fn run(mut self) {
        let mut backoff = BACKOFF.0;
        loop {
            match self.connect().await {
                Ok((sink, stream)) => {
                    backoff = BACKOFF.0;
                    match self.read(sink, stream).await {
                        End::Abandoned => return,
                        End::Lost => self.topics.interrupt(),
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "no connection for notifications");
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
            }
            if let End::Abandoned = self.pause(backoff).await {
                return;
            }
        }
    }

    /// Connects through the next client, and subscribes to all that is watched.
    async fn connect(&mut self) -> Result<(PubSubSink, PubSubStream), Error> {
        let number = self.tries;
        self.tries += 1;
        let connection = timeout(PATIENCE, async {
            let client = self.servers.client(number).await?;
            Ok::<_, Error>(client.get_async_pubsub().await?)
        });
        let (mut sink, stream) = connection.await.map_err(|_| Error::Timeout)??.split();
        self.topics.remove_idle();
        let channels = self.topics.channels();
        if !channels.is_empty() {
            confirmed(sink.subscribe(&channels)).await?;
            self.topics.enforce(&channels);
        }
        Ok((sink, stream))
    }

    async fn read(&mut self, mut sink: PubSubSink, mut stream: PubSubStream) -> End {
        let mut sweep = interval_at(Instant::now() + SWEEP, SWEEP);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                message = stream.next() => match message {
                    Some(message) => self.topics.notify(message.get_channel_name()),
                    None => return End::Lost,
                },
                received = self.requests.recv_many(&mut batch, BATCH) => {
                    if received == 0 {
                        return End::Abandoned;
                    }
                    if let Err(Error::Timeout) = self.subscribe(&mut sink, &mut batch).await {
                        return End::Lost;
                    }
                }
                _ = sweep.tick() => {
                    let idle = self.topics.remove_idle();
                    if !idle.is_empty() && confirmed(sink.unsubscribe(&idle)).await.is_err() {
                        return End::Lost;
                    }
                    // A connection may be dead without anybody having closed it.
                    if confirmed(sink.ping::<Value>()).await.is_err() {
                        return End::Lost;
                    }
                }
            }
        }
    }

    /// Subscribes to all channels of `batch`, and tells who asked.
    async fn subscribe(
        &self,
        sink: &mut PubSubSink,
        batch: &mut Vec<Request>,
    ) -> Result<(), Error> {
        // Whoever has given up would leave a subscription behind that nobody ends.
        batch.retain(|request| !request.done.is_closed());
        if batch.is_empty() {
            return Ok(());
        }
        let channels: Vec<_> = batch
            .iter()
            .map(|request| request.channel.clone())
            .collect();
        let answer = match confirmed(sink.subscribe(&channels)).await {
            Ok(()) => Ok(()),
            // Refused, as for a user without rights to the channel. The others hear the same.
            Err(Error::Redis(error)) => Err(error),
            Err(error) => {
                batch.clear();
                return Err(error);
            }
        };
        if answer.is_ok() {
            self.topics.enforce(&channels);
        }
        for request in batch.drain(..) {
            _ = request.done.send(answer.clone());
        }
        Ok(())
    }

    /// Waits before the next try. Whoever asks meanwhile is not kept waiting.
    async fn pause(&mut self, backoff: Duration) -> End {
        let pause = sleep(backoff);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return End::Lost,
                // Dropping the request says that there is no answer.
                request = self.requests.recv() => if request.is_none() {
                    return End::Abandoned;
                },
            }
        }
    }
}

impl Topics {
    /// Watches `channel`. Returns also whether the server knows of it already.
    fn subscribe(&self, key: &Key, channel: &str) -> (Watch, bool) {
        let mut topics = lock(&self.0);
        let topic = match topics.get_mut(channel) {
            Some(topic) => topic,
            None => topics.entry(channel.to_owned()).or_default(),
        };
        (topic.watchers.subscribe(key), topic.in_force)
    }

    fn notify(&self, channel: &str) {
        if let Some(topic) = lock(&self.0).get(channel) {
            topic.watchers.notify_all();
        }
    }

    fn channels(&self) -> Vec<String> {
        lock(&self.0).keys().cloned().collect()
    }

    /// Notes that the server has confirmed `channels`. Wakes those who may have missed something.
    fn enforce(&self, channels: &[String]) {
        let mut topics = lock(&self.0);
        for channel in channels {
            if let Some(topic) = topics.get_mut(channel) {
                topic.in_force = true;
                if take(&mut topic.interrupted) {
                    topic.watchers.notify_all();
                }
            }
        }
    }

    /// Notes that the connection is lost.
    fn interrupt(&self) {
        for topic in lock(&self.0).values_mut() {
            topic.interrupted |= take(&mut topic.in_force);
        }
    }

    /// Forgets the channels that nobody watches any more, and returns them.
    fn remove_idle(&self) -> Vec<String> {
        let mut topics = lock(&self.0);
        let idle = topics.extract_if(|_, topic| topic.watchers.is_empty());
        idle.map(|(channel, _)| channel).collect()
    }
}

/// Waits for the server's confirmation, but not for ever. A lost connection is a [`Error::Timeout`].
async fn confirmed<T>(answer: impl Future<Output = RedisResult<T>>) -> Result<T, Error> {
    match timeout(PATIENCE, answer).await {
        Ok(Err(error)) if error.is_io_error() => Err(Error::Timeout),
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Error::Timeout),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing can panic while the lock is held half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
