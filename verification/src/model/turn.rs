//! What a caller does, one step at a time. The steps are named after the engine's functions: see
//! the table in [`super`].

use std::sync::Arc;
use std::time::Duration;

use idempotency::protocol::{
    Claim, ClaimRequest, Completion, Doubt, Found, Grant, Holder, Operation, Recorded, Release,
    ReleaseMode, Reply, StepReply, Update,
};
use idempotency::{CodecId, Ending, Fingerprint, Payload, Step};

use super::bounds::{Bounds, TICK};
use super::state::{Answer, Body, Caller, Heard, Held, Life, Message, Phase, State, Wants};
use super::state::{caller_of, owner, value_in};
use super::variant::Variant;

const STEP: &str = "step";
/// The value that each caller's body makes.
const VALUES: [u8; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

/// One caller, about to do something.
pub(super) struct Turn<'a> {
    pub(super) bounds: &'a Bounds,
    pub(super) variant: Option<Variant>,
    pub(super) state: &'a mut State,
    pub(super) of: u8,
}

impl Turn<'_> {
    fn caller(&self) -> &Caller {
        self.state.caller(self.of)
    }

    /// The life of the key that its grant belongs to.
    fn life(&self) -> Life {
        let held = self.caller().held.as_ref();
        held.map_or(Life::NONE, |held| held.life)
    }

    fn is(&self, variant: Variant) -> bool {
        self.variant == Some(variant)
    }

    /// Asks the store, under a fresh owner; gives up if it has asked often enough, or nobody cares.
    pub(super) fn ask(&mut self, wants: Wants) {
        if wants == Wants::Nothing || self.caller().owners == self.bounds.claims {
            return self.end(Answer::None);
        }
        let now = self.state.now;
        let caller = self.state.caller_mut(self.of);
        caller.owners += 1;
        caller.sent = now;
        caller.held = None;
        self.await_answer(Phase::Asking(wants));
    }

    /// Sends what is to be asked in `phase`, and waits for the answer.
    fn await_answer(&mut self, phase: Phase) {
        self.state.caller_mut(self.of).phase = phase;
        self.stop_waiting();
        if let Some(operation) = self.question() {
            self.send(operation, true);
        }
    }

    /// What is asked in this phase. The same again after a reply was lost.
    fn question(&self) -> Option<Operation> {
        let caller = self.caller();
        if matches!(caller.phase, Phase::Asking(_)) {
            return Some(Operation::Claim(request(
                self.bounds,
                self.of,
                caller.owners,
            )));
        }
        let grant = Grant::clone(&caller.held.as_ref()?.grant);
        let lease = lease(self.bounds);
        match caller.phase {
            Phase::Completing => Some(Operation::Complete {
                grant,
                completion: completion(self.bounds, self.of),
            }),
            Phase::Recording => Some(Operation::RecordStep {
                grant,
                step: Step {
                    name: STEP.to_owned(),
                    value: b""[..].into(),
                },
                lease,
            }),
            Phase::Renewing | Phase::Running(_) => Some(Operation::Renew { grant, lease }),
            _ => None,
        }
    }

    fn send(&mut self, operation: Operation, is_awaited: bool) {
        let life = self.life();
        self.state.messages.push(Message {
            from: self.of,
            is_awaited,
            operation: Arc::new(operation),
            life,
        });
    }

    fn stop_waiting(&mut self) {
        self.state.caller_mut(self.of).inbox = None;
        for message in &mut self.state.messages {
            message.is_awaited &= message.from != self.of;
        }
    }

    /// Tries again, as the same owner, after no answer came.
    pub(super) fn retry(&mut self) {
        let now = self.state.now;
        let caller = self.state.caller_mut(self.of);
        if matches!(caller.phase, Phase::Asking(_)) {
            caller.sent = now;
        }
        let phase = caller.phase;
        self.await_answer(phase);
    }

    /// Has no more patience with the store.
    pub(super) fn give_up(&mut self) {
        match self.caller().phase {
            Phase::Asking(_) => {
                let holder = Holder {
                    owner: owner(self.of, self.caller().owners),
                    fence: None,
                };
                self.release(holder, Ending::Clean, ReleaseMode::Free);
                self.end(Answer::None);
            }
            Phase::Completing if self.is(Variant::UnrecordedAsOk) => self.return_own(),
            Phase::Recording => self.fail(),
            Phase::Renewing => {
                self.release_held(Ending::Clean, ReleaseMode::Free);
                self.end(Answer::None);
            }
            _ => self.end(Answer::None),
        }
    }

    /// Reads the store's answer.
    pub(super) fn hear(&mut self) {
        let Some(Heard { reply, life }) = self.state.caller_mut(self.of).inbox.take() else {
            return;
        };
        match (self.caller().phase, &*reply) {
            (Phase::Asking(wants), Reply::Claim(claim)) => self.hear_claim(wants, claim, life),
            (Phase::Renewing, Reply::Update(Update::Lost(_))) => {
                // Nothing has run, which settles the doubt that the record may be in.
                self.release_held(Ending::Clean, ReleaseMode::Free);
                self.ask(Wants::Run);
            }
            (Phase::Renewing, Reply::Update(_)) if self.is_late() => self.give_up(),
            (Phase::Renewing, Reply::Update(_)) => {
                self.state.caller_mut(self.of).phase = Phase::Unrun;
            }
            (Phase::Recording, Reply::Step(StepReply::Lost(_))) => self.fail(),
            (Phase::Recording, Reply::Step(_)) => self.run_on(Body::Stepped),
            (Phase::Completing, Reply::Update(Update::Lost(found))) => {
                self.superseded(found.as_ref(), life);
            }
            (Phase::Completing, Reply::Update(_)) => self.return_value(self.of, life),
            (Phase::Settling, Reply::Update(_)) => self.ask(Wants::Run),
            _ => {}
        }
    }

    fn hear_claim(&mut self, wants: Wants, claim: &Claim, life: Life) {
        match (claim, wants) {
            (Claim::Granted(grant), _) => {
                let grant = Arc::new(grant.clone());
                let caller = self.state.caller_mut(self.of);
                caller.held = Some(Held { grant, life });
                caller.phase = Phase::Unrun;
                if wants != Wants::Run {
                    self.release_held(Ending::Clean, ReleaseMode::Free);
                    self.end(Answer::None);
                }
            }
            (Claim::InDoubt(doubt), _)
                if doubt.grant.owner == owner(self.of, self.caller().owners) =>
            {
                // The grant came, and ran out, while its reply was lost: nothing has run.
                self.release(doubt.grant.holder(), Ending::Clean, ReleaseMode::Free);
                self.ask(wants);
            }
            (Claim::Stale, _) => self.ask(wants),
            (_, Wants::Nothing) => self.end(Answer::None),
            (Claim::Busy { .. }, _) => self.state.caller_mut(self.of).phase = Phase::Waiting(wants),
            (Claim::Done(recorded), _) => self.return_recorded(recorded, life),
            (Claim::InDoubt(doubt), Wants::Run) => self.resolve(doubt, life),
            _ => self.end(Answer::None),
        }
    }

    /// Settles another call's doubt by what the outside world says.
    fn resolve(&mut self, doubt: &Doubt, life: Life) {
        let grant = doubt.grant.clone();
        let silent = caller_of(grant.owner);
        let has_acted = self.state.caller(silent).acted;
        let may_act = self.state.caller(silent).is_active();
        let operation = if has_acted {
            let completion = completion(self.bounds, silent);
            Operation::Complete { grant, completion }
        } else if may_act {
            return self.end(Answer::None);
        } else {
            Operation::Release {
                holder: grant.holder(),
                release: Release::new(doubt.ending, ReleaseMode::Free),
            }
        };
        self.state.caller_mut(self.of).phase = Phase::Settling;
        self.send(operation, true);
        if let Some(message) = self.state.messages.last_mut() {
            message.life = life;
        }
    }

    /// Begins the body, if the lease still runs by this caller's clock; renews it before that if not.
    pub(super) fn begin(&mut self) {
        if self.is_late() && !self.is(Variant::LateBody) {
            self.state.caller_mut(self.of).sent = self.state.now;
            return self.await_answer(Phase::Renewing);
        }
        let Some(held) = self.caller().held.clone() else {
            return;
        };
        self.state.history.begin(&held);
        let has_step_to_run = self.bounds.has_steps && held.grant.steps.is_empty();
        self.run_on(if has_step_to_run {
            Body::Began
        } else {
            Body::Stepped
        });
    }

    /// Whether the lease may be over, by this caller's clock.
    fn is_late(&self) -> bool {
        self.state.now - self.caller().sent >= self.bounds.lease
    }

    fn run_on(&mut self, body: Body) {
        self.state.caller_mut(self.of).phase = Phase::Running(body);
    }

    /// Runs the body's step, and records it.
    pub(super) fn step(&mut self) {
        if let Some(held) = self.caller().held.clone() {
            self.state.history.step(&held);
        }
        self.await_answer(Phase::Recording);
    }

    /// Has the effect.
    pub(super) fn act(&mut self) {
        let caller = self.state.caller_mut(self.of);
        caller.acted = true;
        if let Some(held) = caller.held.clone() {
            self.state.history.act(&held);
        }
        self.run_on(Body::Acted);
    }

    /// Renews the lease while the body runs. The body goes on whatever the answer is.
    pub(super) fn keep_lease(&mut self) {
        self.state.caller_mut(self.of).sent = self.state.now;
        if let Some(operation) = self.question() {
            self.send(operation, false);
        }
    }

    /// The body returns its value, which is recorded.
    pub(super) fn complete(&mut self) {
        self.await_answer(Phase::Completing);
    }

    /// The body returns an error, which is not recorded.
    pub(super) fn fail(&mut self) {
        let mode = if self.bounds.at_most_once && self.caller().acted {
            ReleaseMode::Hold
        } else {
            ReleaseMode::Free
        };
        self.release_held(Ending::Error, mode);
        self.end(Answer::None);
    }

    /// The body panics.
    pub(super) fn panic(&mut self) {
        self.release_held(Ending::Panicked, ReleaseMode::Note);
        self.end(Answer::None);
    }

    /// The caller drops the call's future.
    pub(super) fn cancel(&mut self) {
        match self.caller().phase {
            // The claim runs to its end in a task of its own.
            Phase::Asking(_) => {
                self.state.caller_mut(self.of).phase = Phase::Asking(Wants::Nothing);
                return;
            }
            Phase::Renewing | Phase::Unrun => self.release_held(Ending::Clean, ReleaseMode::Free),
            Phase::Recording | Phase::Running(_) if self.is(Variant::CleanAfterCancel) => {
                self.release_held(Ending::Clean, ReleaseMode::Free);
            }
            Phase::Recording | Phase::Running(_) => {
                self.release_held(Ending::Cancelled, ReleaseMode::Note);
            }
            Phase::Completing
            | Phase::Ended(_)
            | Phase::Idle
            | Phase::Settling
            | Phase::Waiting(_) => {}
        }
        self.end(Answer::None);
    }

    /// Finds the result that counts in place of this late owner's.
    fn superseded(&mut self, found: Option<&Found>, life: Life) {
        if self.is(Variant::LateOwnerReturnsItsOwn) {
            return self.return_own();
        }
        match found.map(|found| &found.recorded) {
            None => self.end(Answer::None),
            Some(Some(recorded)) => self.return_recorded(recorded, life),
            Some(None) => self.ask(Wants::Winner),
        }
    }

    fn return_own(&mut self) {
        self.return_value(self.of, self.life());
    }

    fn return_recorded(&mut self, recorded: &Recorded, life: Life) {
        self.return_value(value_in(&recorded.payload).unwrap_or_default(), life);
    }

    fn return_value(&mut self, of: u8, life: Life) {
        self.state.history.answer(of);
        self.end(Answer::Value { of, life });
    }

    fn release_held(&mut self, ending: Ending, mode: ReleaseMode) {
        if let Some(held) = self.caller().held.clone() {
            self.release(held.grant.holder(), ending, mode);
        }
    }

    fn release(&mut self, holder: Holder, ending: Ending, mode: ReleaseMode) {
        let release = Release::new(ending, mode);
        self.send(Operation::Release { holder, release }, false);
    }

    /// The process is gone, or the caller has its answer.
    pub(super) fn end(&mut self, answer: Answer) {
        self.stop_waiting();
        let caller = self.state.caller_mut(self.of);
        caller.phase = Phase::Ended(answer);
        caller.held = None;
        caller.owners = 0;
        caller.sent = 0;
    }
}

/// The claim of `caller`'s `nth` owner.
pub(super) fn request(bounds: &Bounds, caller: u8, nth: u8) -> ClaimRequest {
    let arguments = Fingerprint::from_bytes([0; 32]);
    let mut request = ClaimRequest::new(owner(caller, nth), arguments, lease(bounds), ttl(bounds));
    request.keep = ttl(bounds);
    request.at_most_once = bounds.at_most_once;
    request
}

/// The result of `caller`'s body.
pub(super) fn completion(bounds: &Bounds, caller: u8) -> Completion {
    let value = usize::from(caller);
    let payload = Payload {
        codec: CodecId::JSON,
        bytes: VALUES[value..=value].into(),
    };
    Completion::value(payload, ttl(bounds))
}

pub(super) fn lease(bounds: &Bounds) -> Duration {
    Duration::from_micros(u64::from(bounds.lease) * TICK)
}

fn ttl(bounds: &Bounds) -> Duration {
    Duration::from_micros(u64::from(bounds.ttl) * TICK)
}
