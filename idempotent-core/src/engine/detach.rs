use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::watch;

use super::claim::Call;
use crate::sync::Handle;

/// A future that runs to its end even if whoever awaits it goes away.
///
/// A store call that is cut off in the middle may or may not have been applied, and somebody has to
/// see to what it did: to release a claim that was granted to nobody, say. If this is dropped before
/// it is ready, a task takes over. Until then it costs no task.
pub(crate) struct ToTheEnd<F: Future + Send + 'static>
where
    F::Output: Send,
{
    call: Arc<Call>,
    future: Option<Pin<Box<F>>>,
    /// What nobody has polled yet has not begun, and need not end.
    begun: bool,
}

impl<F> ToTheEnd<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    pub(crate) fn new(call: &Arc<Call>, future: F) -> Self {
        Self {
            call: Arc::clone(call),
            future: Some(Box::pin(future)),
            begun: false,
        }
    }
}

impl<F> Future for ToTheEnd<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.begun = true;
        let future = self.future.as_mut().expect("not polled after it was ready");
        let output = ready!(future.as_mut().poll(cx));
        self.future = None;
        Poll::Ready(output)
    }
}

impl<F> Drop for ToTheEnd<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn drop(&mut self) {
        if let Some(future) = self.future.take()
            && self.begun
        {
            let background = &self.call.shared().background;
            background.spawn(async move { _ = future.await });
        }
    }
}

/// The tasks of an engine that nobody waits for.
#[derive(Debug)]
pub(crate) struct Background(watch::Sender<()>);

/// Counts as a task for as long as it lives.
#[derive(Debug)]
pub(crate) struct Task(
    #[expect(dead_code, reason = "it is dropped, which is all")] watch::Receiver<()>,
);

impl Background {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(()))
    }

    pub(crate) fn task(&self) -> Task {
        Task(self.0.subscribe())
    }

    /// Runs `future` in a task of its own, if there is a runtime to run it.
    ///
    /// At a runtime's shutdown it does not run. Nothing may depend on it but speed: what it would have
    /// told the store, the end of the lease tells.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        if let Ok(runtime) = Handle::try_current() {
            let task = self.task();
            drop(runtime.spawn(async move {
                future.await;
                drop(task);
            }));
        }
    }

    /// Waits until there is no task.
    pub(crate) async fn none(&self) {
        self.0.closed().await;
    }
}
