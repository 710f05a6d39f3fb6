//! A clock, timers and tasks for executions that a scheduler chooses step by step.
//!
//! Time goes by while somebody waits for it: each look at a timer may move it a little, and now and
//! then by a leap. How much work falls between two looks is the scheduler's choice, so any task may
//! find itself late by any time.

use std::future::Future;

use shuttle::future::{JoinHandle, spawn};
use tokio::runtime::TryCurrentError;

/// The runtime that is always there.
#[derive(Debug)]
pub(crate) struct Handle(());

impl Handle {
    #[expect(
        clippy::unnecessary_wraps,
        reason = "it stands in for one that may fail"
    )]
    pub(crate) const fn try_current() -> Result<Self, TryCurrentError> {
        Ok(Self(()))
    }

    #[expect(clippy::unused_self, reason = "it stands in for one that needs it")]
    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        spawn(future)
    }
}

pub(crate) mod time {
    use std::future::{Future, poll_fn};
    use std::ops::{Add, Sub};
    use std::pin::pin;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Poll;
    use std::time::Duration;

    use shuttle::future::yield_now;
    use shuttle::rand::{Rng, thread_rng};

    /// How far the clock moves at most at one look, as a rule, and in one of so many.
    const STEP_MILLIS: u64 = 5;
    const LEAP_MILLIS: u64 = 200;
    const LOOKS_PER_LEAP: u32 = 30;

    shuttle::lazy_static! {
        /// Not one of shuttle's, for it is no part of what is tested.
        static ref MILLIS: AtomicU64 = AtomicU64::new(0);
    }

    #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
    pub(crate) struct Instant(Duration);

    impl Instant {
        pub(crate) fn now() -> Self {
            Self(Duration::from_millis(MILLIS.load(Ordering::SeqCst)))
        }

        pub(crate) fn elapsed(self) -> Duration {
            Self::now() - self
        }

        pub(crate) fn checked_add(self, duration: Duration) -> Option<Self> {
            self.0.checked_add(duration).map(Self)
        }

        pub(crate) const fn saturating_duration_since(self, earlier: Self) -> Duration {
            self.0.saturating_sub(earlier.0)
        }
    }

    impl Add<Duration> for Instant {
        type Output = Self;

        fn add(self, duration: Duration) -> Self {
            Self(self.0 + duration)
        }
    }

    impl Sub for Instant {
        type Output = Duration;

        fn sub(self, earlier: Self) -> Duration {
            self.saturating_duration_since(earlier)
        }
    }

    /// The end of a [`timeout_at`].
    #[derive(Debug)]
    pub(crate) struct Elapsed(());

    pub(crate) async fn sleep(duration: Duration) {
        sleep_until(Instant::now() + duration).await;
    }

    pub(crate) async fn sleep_until(deadline: Instant) {
        while Instant::now() < deadline {
            let leaps = thread_rng().gen_ratio(1, LOOKS_PER_LEAP);
            let longest = if leaps { LEAP_MILLIS } else { STEP_MILLIS };
            let step = thread_rng().gen_range(0..=longest);
            MILLIS.fetch_add(step, Ordering::SeqCst);
            yield_now().await;
        }
    }

    pub(crate) async fn timeout_at<T>(
        deadline: Instant,
        future: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        let (mut future, mut timer) = (pin!(future), pin!(sleep_until(deadline)));
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            timer.as_mut().poll(cx).map(|()| Err(Elapsed(())))
        })
        .await
    }
}
