use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;

/// A [`Purger`](crate::Purger), a [`Completer`](crate::Completer) or a [`Relay`](crate::Relay) at work.
/// Dropping this ends it, and so does the end of the runtime.
#[derive(Debug)]
#[must_use = "dropping the handle ends the task"]
pub struct TaskHandle {
    task: JoinHandle<Infallible>,
}

impl TaskHandle {
    pub(crate) fn spawn(work: impl Future<Output = Infallible> + Send + 'static) -> Self {
        let task = tokio::spawn(work);
        Self { task }
    }

    /// Ends the task, and returns when it has ended: it asks the store for nothing any more, and has
    /// let go of it. What it had asked for may still happen.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the task ends, whether anybody waits for it or not.
    pub async fn stop(mut self) {
        self.task.abort();
        // An error says that it was cut off, as it should be. There is no other answer.
        _ = (&mut self.task).await;
    }
}

impl Drop for TaskHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How long to wait after so many attempts: `first`, twice as long after each further one, and never longer
/// than `longest`.
pub(crate) fn doubling(first: Duration, longest: Duration, attempts: u32) -> Duration {
    let times = 2_u32.saturating_pow(attempts.saturating_sub(1));
    first.saturating_mul(times).min(longest)
}
