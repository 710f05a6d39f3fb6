//! A process that stands still while the world goes on.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::clock;

/// When a process stands still, by the simulation's time.
pub(super) type Pauses = Arc<[Range<Duration>]>;

/// A future that is not polled while its process stands still: when it goes on, each timer in it may
/// be long past its end, and nothing in it has noticed.
pub(super) struct Paused<F> {
    future: Pin<Box<F>>,
    pauses: Pauses,
    end: Option<Pin<Box<Sleep>>>,
}

impl<F: Future> Paused<F> {
    pub(super) fn new(pauses: &Pauses, future: F) -> Self {
        Self {
            future: Box::pin(future),
            pauses: Arc::clone(pauses),
            end: None,
        }
    }

    /// How long the process still stands still.
    fn rest(&self) -> Option<Duration> {
        let now = clock::elapsed();
        let pause = self.pauses.iter().find(|pause| pause.contains(&now))?;
        Some(pause.end.saturating_sub(now))
    }
}

impl<F: Future> Future for Paused<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        while let Some(rest) = self.rest() {
            let end = self.end.get_or_insert_with(|| Box::pin(sleep(rest)));
            if end.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.end = None;
        }
        self.future.as_mut().poll(cx)
    }
}
