use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, bail};
use bytes::Bytes;

use crate::orders::{Desk, Order, Receipt, deliver};

const SHARDS: usize = 64;

/// What a careful engineer writes for one process: a map of what was done, and what is being done.
///
/// It knows neither fingerprints nor leases, and forgets nothing.
#[derive(Clone, Debug)]
pub(super) struct Floor {
    shared: Arc<Shared>,
    text: &'static str,
}

#[derive(Debug)]
struct Shared {
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<String, Entry>>>,
}

#[derive(Debug)]
enum Entry {
    Done(Bytes),
    InProgress,
}

impl Floor {
    pub(super) fn new(text: &'static str) -> Self {
        let shared = Shared {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        };
        Self {
            shared: Arc::new(shared),
            text,
        }
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, HashMap<String, Entry>> {
        let hash = usize::try_from(self.shared.hasher.hash_one(key)).unwrap_or_default();
        self.shared.shards[hash % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn forget(&self, orders: &[Order]) {
        for order in orders {
            let key = key(order);
            self.shard(&key).remove(&key);
        }
    }

    /// Returns what was recorded, or becomes the one who runs.
    fn claim(&self, key: &str) -> Result<Option<Bytes>> {
        let mut shard = self.shard(key);
        match shard.get(key) {
            Some(Entry::Done(bytes)) => Ok(Some(bytes.clone())),
            Some(Entry::InProgress) => bail!("the order is being taken"),
            None => {
                shard.insert(key.to_owned(), Entry::InProgress);
                Ok(None)
            }
        }
    }
}

impl Desk for Floor {
    async fn take(&self, order: Order) -> Result<Receipt> {
        let key = key(&order);
        if let Some(bytes) = self.claim(&key)? {
            return Ok(serde_json::from_slice(&bytes)?);
        }
        let receipt = deliver(self.text, &order);
        let bytes = serde_json::to_vec(&receipt)?.into();
        self.shard(&key).insert(key, Entry::Done(bytes));
        Ok(receipt)
    }
}

fn key(order: &Order) -> String {
    format!("orders.take/{}:{}", order.customer, order.request)
}
