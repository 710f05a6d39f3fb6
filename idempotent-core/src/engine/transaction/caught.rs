use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

pub(crate) type Panic = Box<dyn std::any::Any + Send>;

/// Runs `body`, and catches its panic: what it holds is rolled back in any case.
#[doc(hidden)]
pub async fn caught<T>(body: impl Future<Output = T>) -> Result<T, Panic> {
    let mut body = pin!(body);
    poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| body.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(panic)),
        },
    )
    .await
}
