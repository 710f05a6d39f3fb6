use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use idempotent_core::StoreError;
use idempotent_core::protocol::Completion;

use super::{Faults, Gate, Op};

/// What befalls a call.
#[derive(Clone)]
pub(super) enum Fault {
    Delay(Duration),
    DelayReply(Duration),
    DropReply,
    Fail(Arc<dyn Fn() -> StoreError + Send + Sync>),
    Hang,
    HangReply,
    LoseLease(Option<Completion>),
    Run(Arc<dyn Fn() + Send + Sync>),
    Stop(Gate),
    StopReply(Gate),
}

/// A fault, and the calls that it befalls.
pub(super) struct Rule {
    op: Option<Op>,
    which: Which,
    seen: usize,
    fault: Fault,
}

#[derive(Clone, Copy, Debug)]
enum Which {
    All,
    First(usize),
    From(usize),
    Nth(usize),
}

impl Rule {
    /// Counts a call. Returns the fault if the call is one that it befalls.
    pub(super) fn strike(&mut self, op: Op) -> Option<Fault> {
        if self.op.is_some_and(|only| only != op) {
            return None;
        }
        self.seen += 1;
        let befalls = match self.which {
            Which::All => true,
            Which::First(calls) => self.seen <= calls,
            Which::From(call) => self.seen >= call,
            Which::Nth(call) => self.seen == call,
        };
        befalls.then(|| self.fault.clone())
    }
}

/// Half a rule: the calls it is about. The other half is what befalls them.
///
/// Without [`nth`](Self::nth), [`first`](Self::first) or [`from`](Self::from), every call is meant. Calls count from when
/// the rule is made.
#[derive(Clone, Copy)]
#[must_use = "a rule needs a fault, as in `.fail()`"]
pub struct When<'a> {
    faults: &'a Faults,
    op: Option<Op>,
    which: Which,
}

impl<'a> When<'a> {
    pub(super) const fn new(faults: &'a Faults, op: Option<Op>) -> Self {
        Self {
            faults,
            op,
            which: Which::All,
        }
    }

    /// Only the call with this number, from 1.
    pub const fn nth(mut self, call: usize) -> Self {
        self.which = Which::Nth(call);
        self
    }

    /// Only so many calls.
    pub const fn first(mut self, calls: usize) -> Self {
        self.which = Which::First(calls);
        self
    }

    /// Only the call with this number, from 1, and all after it.
    pub const fn from(mut self, call: usize) -> Self {
        self.which = Which::From(call);
        self
    }

    /// The call fails as [`StoreError::Unavailable`], and changes nothing.
    pub fn fail(self) {
        self.fail_with(unavailable);
    }

    /// The call fails with this error, and changes nothing.
    pub fn fail_with(self, error: impl Fn() -> StoreError + Send + Sync + 'static) {
        self.befall(Fault::Fail(Arc::new(error)));
    }

    /// The store does what it was asked, and the caller gets [`StoreError::Unavailable`].
    pub fn drop_reply(self) {
        self.befall(Fault::DropReply);
    }

    /// The call reaches the store so much later.
    pub fn delay(self, delay: Duration) {
        self.befall(Fault::Delay(delay));
    }

    /// The store does what it was asked at once, and the reply comes so much later.
    pub fn delay_reply(self, delay: Duration) {
        self.befall(Fault::DelayReply(delay));
    }

    /// The call never reaches the store, and never returns.
    pub fn hang(self) {
        self.befall(Fault::Hang);
    }

    /// The store does what it was asked, and the call never returns.
    pub fn hang_reply(self) {
        self.befall(Fault::HangReply);
    }

    /// The call waits at the gate before it reaches the store.
    #[must_use = "nothing opens the gate unless it is kept"]
    pub fn stop(self) -> Gate {
        let gate = Gate::new();
        self.befall(Fault::Stop(gate.clone()));
        gate
    }

    /// The store does what it was asked, and the reply waits at the gate.
    #[must_use = "nothing opens the gate unless it is kept"]
    pub fn stop_reply(self) -> Gate {
        let gate = Gate::new();
        self.befall(Fault::StopReply(gate.clone()));
        gate
    }

    /// Another caller takes over before the call reaches the store, or right after a claim was
    /// granted. It holds the key for an hour, and is not heard of again.
    ///
    /// To the caller it is as if its lease had run out while it was not looking. The time does not
    /// move, so that nothing else runs out with it.
    pub fn lose_lease(self) {
        self.befall(Fault::LoseLease(None));
    }

    /// Another caller takes over as in [`lose_lease`](Self::lose_lease), and completes.
    pub fn lose_lease_to(self, completion: Completion) {
        self.befall(Fault::LoseLease(Some(completion)));
    }

    /// Something else happens before the call reaches the store: time passes, for example.
    pub fn run(self, happening: impl Fn() + Send + Sync + 'static) {
        self.befall(Fault::Run(Arc::new(happening)));
    }

    fn befall(self, fault: Fault) {
        self.faults.add(Rule {
            op: self.op,
            which: self.which,
            seen: 0,
            fault,
        });
    }
}

impl fmt::Debug for When<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("When")
            .field("op", &self.op)
            .field("which", &self.which)
            .finish_non_exhaustive()
    }
}

/// What a caller sees of a connection that has broken.
pub(super) fn unavailable() -> StoreError {
    StoreError::Unavailable("a fault that the test asked for".into())
}
