use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use idempotent_core::Clock;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use super::Interruption;
use crate::faults::Faults;

/// How long a write that has begun may take.
const LAST_WRITES: Duration = Duration::from_secs(10);

/// How long a call of the store takes to get through, and its reply to come back: time enough to be
/// stopped in.
const WAY: Duration = Duration::from_millis(1);
/// How long a process lives on after its caller has gone, to tell the store of it.
const AFTERMATH: Duration = Duration::from_secs(5);

/// A process: what runs in it, ends with it.
pub(crate) struct Process {
    runtime: Runtime,
    clock: Clock,
}

/// What an interrupted call has come to.
pub(super) struct Run<R> {
    /// What it returned, if it was not stopped.
    pub(super) result: Option<R>,
    /// Whether it came to the point of its interruption.
    pub(super) reached: bool,
}

impl Process {
    /// Starts a process, whose time is the time of `clock`, too.
    pub(crate) fn start(clock: &Clock) -> Self {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_all().start_paused(true).build();
        let runtime = runtime.expect("the machine has room for a runtime");
        Self {
            runtime,
            clock: clock.clone(),
        }
    }

    /// Runs `call`, whose store is behind `faults`, to its end.
    pub(crate) fn run<R>(self, call: impl Future<Output = R>, faults: &Faults) -> R {
        let result = self.runtime.block_on(async {
            let follower = Follower::new(self.clock);
            let follow = Arc::clone(&follower);
            faults.on_any().run(move || follow.catch_up());
            let result = call.await;
            follower.catch_up();
            result
        });
        // What has entered the kernel ends there, as with a process that dies: a blocking write must
        // not come about after the next process has looked for it.
        self.runtime.shutdown_timeout(LAST_WRITES);
        result
    }

    /// Runs `call`, whose store is behind `faults`, to the point of its interruption.
    pub(super) fn interrupt<R>(
        self,
        call: impl Future<Output = R>,
        interruption: Interruption,
        faults: &Faults,
    ) -> Run<R> {
        faults.on_any().delay(WAY);
        faults.on_any().delay_reply(WAY);
        let interrupted = async {
            match interruption {
                Interruption::None => Run {
                    result: Some(call.await),
                    reached: true,
                },
                Interruption::CallerGone { polls } => {
                    let result = poll_only(call, polls, || {}).await;
                    tokio::time::sleep(AFTERMATH).await;
                    Run {
                        reached: result.is_none(),
                        result,
                    }
                }
                Interruption::Crash { polls } => {
                    // Nothing that the end of a future does is done by a process that dies.
                    let result = poll_only(call, polls, || faults.on_any().hang()).await;
                    Run {
                        reached: result.is_none(),
                        result,
                    }
                }
                Interruption::CrashBefore { call: number } => {
                    let gate = faults.on_any().from(number).stop();
                    until(call, gate.reached()).await
                }
                Interruption::CrashAfter { call: number } => {
                    let gate = faults.on_any().nth(number).stop_reply();
                    faults.on_any().from(number + 1).hang();
                    until(call, gate.reached()).await
                }
                Interruption::StoreFails { call: number } => {
                    faults.on_any().nth(number).fail();
                    let result = Some(call.await);
                    Run {
                        result,
                        reached: faults.calls().len() >= number,
                    }
                }
                Interruption::ReplyLost { call: number } => {
                    faults.on_any().nth(number).drop_reply();
                    let result = Some(call.await);
                    Run {
                        result,
                        reached: faults.calls().len() >= number,
                    }
                }
            }
        };
        self.run(interrupted, faults)
    }
}

/// Lets the store's clock follow the runtime's, which leaps from timer to timer.
struct Follower {
    clock: Clock,
    caught_up: Mutex<Instant>,
}

impl Follower {
    fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            caught_up: Mutex::new(Instant::now()),
        })
    }

    /// Brings the store's clock to the present, as when the store is asked.
    fn catch_up(&self) {
        let mut caught_up = self
            .caught_up
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        self.clock.advance(now - *caught_up);
        *caught_up = now;
    }
}

/// Polls `call` so many times at most, and does `last` before it is dropped.
async fn poll_only<R>(
    call: impl Future<Output = R>,
    polls: usize,
    last: impl FnOnce(),
) -> Option<R> {
    let mut call = pin!(call);
    let mut polled = 0;
    let result = std::future::poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => {
            polled += 1;
            if polled == polls {
                Poll::Ready(None)
            } else {
                Poll::Pending
            }
        }
    })
    .await;
    if result.is_none() {
        last();
    }
    result
}

/// Runs `call` until the process dies.
async fn until<R>(call: impl Future<Output = R>, death: impl Future<Output = ()>) -> Run<R> {
    tokio::select! {
        biased;
        () = death => Run { result: None, reached: true },
        result = call => Run { result: Some(result), reached: false },
    }
}
