use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

pub(crate) type Panic = Box<dyn std::any::Any + Send>;

/// Runs `body`, and catches its panic: what it holds is rolled back in any case.
#[doc(hidden)]
pub async fn caught<T>(body: impl Future<Output = T>) -> Result<T, Panic> {
    let mut body = pin!(body);
    poll_fn(|cx| poll_caught(body.as_mut(), cx)).await
}

/// Polls `body` once, and catches its panic.
pub(crate) fn poll_caught<F: Future>(
    body: Pin<&mut F>,
    cx: &mut Context<'_>,
) -> Poll<Result<F::Output, Panic>> {
    match catch_unwind(AssertUnwindSafe(|| body.poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(panic)),
    }
}
