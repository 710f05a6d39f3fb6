use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::pending;
use std::sync::Arc;

use tokio::sync::watch;

use crate::key::Key;
use crate::sync::{Mutex, MutexGuard, lock};

/// A subscription to the end of one key's attempt.
#[derive(Debug)]
pub struct Watch {
    changes: Option<watch::Receiver<()>>,
    _ticket: Option<Ticket>,
}

impl Watch {
    /// A subscription that never says anything, for stores without notifications.
    #[must_use]
    pub const fn never() -> Self {
        Self {
            changes: None,
            _ticket: None,
        }
    }

    /// Waits for the next message. Never returns if there will be none.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a message that came is there for the next call.
    pub async fn changed(&mut self) {
        if let Some(changes) = &mut self.changes
            && changes.changed().await.is_ok()
        {
            return;
        }
        pending::<()>().await;
    }
}

/// The subscriptions of one process, for stores to share out messages by key.
///
/// # Clone
///
/// Clones share their subscriptions.
#[derive(Clone, Debug, Default)]
pub struct Watchers {
    topics: Arc<Mutex<HashMap<Key, Topic>>>,
}

#[derive(Debug)]
struct Topic {
    changes: watch::Sender<()>,
    subscribers: usize,
}

/// Ends a subscription when it is dropped.
#[derive(Debug)]
struct Ticket {
    key: Key,
    watchers: Watchers,
}

impl Watchers {
    /// No subscriptions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Subscribes to `key`. Dropping the [`Watch`] ends the subscription.
    #[must_use]
    pub fn subscribe(&self, key: &Key) -> Watch {
        let mut topics = self.lock();
        let topic = topics.entry(key.clone()).or_insert_with(|| Topic {
            changes: watch::Sender::new(()),
            subscribers: 0,
        });
        topic.subscribers += 1;
        Watch {
            changes: Some(topic.changes.subscribe()),
            _ticket: Some(Ticket {
                key: key.clone(),
                watchers: self.clone(),
            }),
        }
    }

    /// Wakes all who subscribe to `key`.
    pub fn notify(&self, key: &Key) {
        if let Some(topic) = self.lock().get(key) {
            topic.changes.send_replace(());
        }
    }

    /// Wakes everybody, as after a lost connection, when messages may have been missed.
    pub fn notify_all(&self) {
        for topic in self.lock().values() {
            topic.changes.send_replace(());
        }
    }

    /// Whether nobody subscribes to anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Topic>> {
        lock(&self.topics)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut topics = self.watchers.lock();
        if let Entry::Occupied(mut topic) = topics.entry(self.key.clone()) {
            topic.get_mut().subscribers -= 1;
            if topic.get().subscribers == 0 {
                topic.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_before_the_wait_is_not_missed() {
        let (watchers, key) = (Watchers::new(), Key::new("scope", "key").unwrap());
        let mut watch = watchers.subscribe(&key);
        watchers.notify(&key);
        watch.changed().await;
    }

    #[test]
    fn the_last_subscriber_takes_the_topic_along() {
        let (watchers, key) = (Watchers::new(), Key::new("scope", "key").unwrap());
        let (first, second) = (watchers.subscribe(&key), watchers.subscribe(&key));
        drop(first);
        assert!(!watchers.is_empty());
        drop(second);
        assert!(watchers.is_empty());
    }
}
