//! Messages about the ends of attempts.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use idempotent_core::{Key, Watch, Watchers};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::error::Error;
use crate::link::Place;
use crate::session::Session;

/// How often idle subscriptions are ended, and the connection is tried: it may be dead without
/// anybody having closed it.
const SWEEP: Duration = Duration::from_secs(15);
/// How long to wait before connecting again: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Tells whoever waits in this process of the ends of attempts in all processes.
///
/// One connection listens on the table's channel, from the first that waits on. Messages can be lost,
/// so nothing depends on them but the time that a waiter waits.
pub(crate) struct Notifications {
    place: Arc<Place>,
    channel: String,
    topics: Arc<Topics>,
    listener: Mutex<Option<Listener>>,
    has_listened: AtomicBool,
}

/// The task that keeps the connection. It ends with the last handle to the store.
struct Listener {
    task: JoinHandle<()>,
    ear: watch::Receiver<Ear>,
}

/// Whether messages are heard.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ear {
    /// Not yet, or not for a moment.
    Connecting,
    /// Not for as long as the last try to connect has failed.
    Deaf,
    Listening,
}

/// Who waits for which message.
#[derive(Debug, Default)]
struct Topics(Mutex<HashMap<String, Watchers>>);

impl Notifications {
    pub(crate) fn new(place: Arc<Place>, channel: String) -> Self {
        Self {
            place,
            channel,
            topics: Arc::default(),
            listener: Mutex::default(),
            has_listened: AtomicBool::new(false),
        }
    }

    /// Subscribes to `key`. When this returns, the server has confirmed that it will tell.
    ///
    /// It fails at once where the last try to listen has failed: whoever waits has to look for itself
    /// then, and not to wait for the next try first.
    pub(crate) async fn watch(self: &Arc<Self>, key: &Key) -> Result<Watch, Error> {
        let watch = self.topics.subscribe(key);
        let mut ear = self.ear();
        let known = ear.wait_for(|ear| *ear != Ear::Connecting);
        match timeout(self.place.response_timeout, known).await {
            Ok(Ok(ear)) if *ear == Ear::Listening => Ok(watch),
            Ok(Ok(_)) => Err(Error::Deaf),
            // Too late, or the task ended with its runtime.
            Err(_) | Ok(Err(_)) => Err(Error::Timeout),
        }
    }

    /// What becomes of the connection. The task that makes it is started if there is none: the first
    /// time, and when the runtime that it ran on is gone.
    fn ear(self: &Arc<Self>) -> watch::Receiver<Ear> {
        let mut listener = lock(&self.listener);
        if let Some(listener) = listener.as_ref()
            && !listener.task.is_finished()
        {
            return listener.ear.clone();
        }
        let (tell, ear) = watch::channel(Ear::Connecting);
        let task = tokio::spawn(listen(Arc::downgrade(self), tell));
        *listener = Some(Listener {
            task,
            ear: ear.clone(),
        });
        ear
    }

    /// Connects and listens.
    async fn listen_once(&self, tell: &watch::Sender<Ear>) -> Result<Session, Error> {
        let topics = Arc::clone(&self.topics);
        let hear = Box::new(move |message: &str| topics.notify(message));
        let session = self.place.connect("", hear).await?;
        let listen = format!("LISTEN {}", self.channel);
        let listening = session.client().batch_execute(&listen);
        timeout(self.place.response_timeout, listening)
            .await
            .map_err(|_| Error::Timeout)??;
        if self.has_listened.swap(true, Ordering::Relaxed) {
            // Whatever was said while nobody listened.
            self.topics.notify_all();
        }
        tell.send_replace(Ear::Listening);
        Ok(session)
    }
}

impl Drop for Notifications {
    fn drop(&mut self) {
        if let Some(listener) = lock(&self.listener).take() {
            listener.task.abort();
        }
    }
}

impl fmt::Debug for Notifications {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifications")
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

/// Keeps listening for as long as there is a store.
async fn listen(notifications: Weak<Notifications>, tell: watch::Sender<Ear>) {
    let mut backoff = BACKOFF.0;
    while let Some(strong) = notifications.upgrade() {
        let connected = strong.listen_once(&tell).await;
        let (topics, patience) = (Arc::clone(&strong.topics), strong.place.response_timeout);
        // The store may go while this one sleeps.
        drop(strong);
        match connected {
            Ok(session) => {
                backoff = BACKOFF.0;
                while is_alive(&session, patience).await {
                    topics.remove_idle();
                }
                session.abort();
                tell.send_replace(Ear::Connecting);
            }
            Err(error) => {
                tracing::debug!(%error, "no connection for notifications");
                tell.send_replace(Ear::Deaf);
                backoff = (backoff * 2).min(BACKOFF.1);
            }
        }
        sleep(backoff).await;
    }
}

/// Whether the connection is there, after a while; at once, if it is closed.
async fn is_alive(session: &Session, patience: Duration) -> bool {
    _ = timeout(SWEEP, session.closed()).await;
    let answer = timeout(patience, session.client().check_connection()).await;
    !session.is_closed() && matches!(answer, Ok(Ok(())))
}

impl Topics {
    fn subscribe(&self, key: &Key) -> Watch {
        let mut topics = lock(&self.0);
        topics.entry(message(key)).or_default().subscribe(key)
    }

    fn notify(&self, message: &str) {
        if let Some(watchers) = lock(&self.0).get(message) {
            watchers.notify_all();
        }
    }

    fn notify_all(&self) {
        for watchers in lock(&self.0).values() {
            watchers.notify_all();
        }
    }

    fn remove_idle(&self) {
        lock(&self.0).retain(|_, watchers| !watchers.is_empty());
    }
}

/// What those are told who wait for `key`: a digest, because a key may be personal data, and every
/// user of the database may listen.
pub(crate) fn message(key: &Key) -> String {
    hex(key.as_str(), 16)
}

/// The channel of the table, a name that needs no quotes. Tables of the same name in two schemas
/// share it, which wakes somebody for nothing if they share a key too.
pub(crate) fn channel(table: &str) -> String {
    format!("idempotency_{}", hex(table, 8))
}

fn hex(text: &str, bytes: usize) -> String {
    let digest = Sha256::digest(text);
    digest
        .iter()
        .take(bytes)
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing can panic while the lock is held half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
