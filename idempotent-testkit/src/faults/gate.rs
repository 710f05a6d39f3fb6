use std::sync::Arc;

use tokio::sync::Semaphore;

/// Where calls stop until the test lets them go on. See [`When::stop`](super::When::stop).
///
/// # Clone
///
/// Clones are handles to the same gate.
#[derive(Clone, Debug)]
pub struct Gate {
    arrivals: Arc<Semaphore>,
    passage: Arc<Semaphore>,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            arrivals: Arc::new(Semaphore::new(0)),
            passage: Arc::new(Semaphore::new(0)),
        }
    }

    /// Waits for a call to arrive that no other wait has seen.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the arrival is there for the next wait.
    pub async fn reached(&self) {
        // A semaphore that is never closed always answers.
        if let Ok(arrival) = self.arrivals.acquire().await {
            arrival.forget();
        }
    }

    /// Lets everybody pass from now on.
    pub fn open(&self) {
        self.passage.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    pub(super) async fn pass(&self) {
        self.arrivals.add_permits(1);
        _ = self.passage.acquire().await;
    }
}
