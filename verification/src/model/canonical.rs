//! Which states are the same: the hash of a state leaves out what makes no difference.
//!
//! - **Names.** Callers are alike, so a state in which two have changed places is the same state.
//!   They are put in an order that depends on nothing but what each has and has sent.
//! - **Fences** matter by the tick of their grant and by their order.
//! - **Moments** matter by their tick. Within a tick the store's clock only tells grants apart: what
//!   was set at a later grant of the tick also ends at a later one.
//! - **What `apply` writes down and never reads** for a decision: `failures`, `late`, `previous`,
//!   `started_at`, `completed_at`, the waiter's flag, and any `ending` but a clean one.
//! - **Effects**, where nobody promises anything about them.

use std::hash::{BuildHasher, Hash, Hasher};

use ahash::{AHasher, RandomState};
use idempotency::protocol::{
    Claim, Doubt, Found, Grant, Holder, Operation, Reply, StepReply, Update,
};
use idempotency::{Ending, Fence, Owner, Payload, Record, Timestamp};

use super::bounds::TICK;
use super::history::History;
use super::state::{Answer, Caller, Message, Phase, State, caller_of, holder, value_in};

/// What callers and fences are called in a hash.
struct Names {
    callers: Vec<u8>,
    fences: Vec<Fence>,
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let names = Names::of(self);
        self.now.hash(state);
        self.misfortunes.hash(state);
        self.record.is_some().hash(state);
        if let Some(record) = &self.record {
            names.record(record, state);
        }
        let mut callers: Vec<_> = (0..).zip(&self.callers).collect();
        callers.sort_unstable_by_key(|(of, _): &(u8, _)| names.caller(*of));
        for (_, caller) in callers {
            names.call(caller, self, state);
        }
        names.messages(&self.messages, None).hash(state);
        names.history(&self.history, state);
    }
}

impl Names {
    fn of(state: &State) -> Self {
        let mut order: Vec<(u64, u8)> = (0..)
            .zip(&state.callers)
            .map(|(of, _)| (Self::seen_by(of, state), of))
            .collect();
        order.sort_unstable();
        let mut callers = vec![0; order.len()];
        for (name, (_, of)) in (0..).zip(order) {
            callers[usize::from(of)] = name;
        }
        let fences = fences(state);
        Self { callers, fences }
    }

    /// What a caller has and has sent, if it is called 0 and everybody else 1.
    fn seen_by(of: u8, state: &State) -> u64 {
        let mut callers = vec![1; state.callers.len()];
        callers[usize::from(of)] = 0;
        let names = Self {
            callers,
            fences: Vec::new(),
        };
        let mut hasher = hasher();
        names.call(state.caller(of), state, &mut hasher);
        names.messages(&state.messages, Some(of)).hash(&mut hasher);
        if let Some(record) = &state.record {
            names.owner(record.owner, &mut hasher);
        }
        hasher.finish()
    }

    fn caller(&self, of: u8) -> u8 {
        self.callers[usize::from(of)]
    }

    fn owner<H: Hasher>(&self, owner: Owner, state: &mut H) {
        self.caller(caller_of(owner)).hash(state);
        owner.as_bytes()[1].hash(state);
    }

    fn fence<H: Hasher>(&self, fence: Fence, state: &mut H) {
        (fence.as_u64() / TICK).hash(state);
        self.fences.binary_search(&fence).ok().hash(state);
    }

    fn any_fence<H: Hasher>(&self, fence: Option<Fence>, state: &mut H) {
        fence.is_some().hash(state);
        if let Some(fence) = fence {
            self.fence(fence, state);
        }
    }

    fn holder<H: Hasher>(&self, holder: Holder, state: &mut H) {
        self.owner(holder.owner, state);
        self.any_fence(holder.fence, state);
    }

    fn grant<H: Hasher>(&self, grant: &Grant, state: &mut H) {
        self.holder(grant.holder(), state);
        grant.attempt.hash(state);
        grant.steps.len().hash(state);
    }

    fn record<H: Hasher>(&self, record: &Record, state: &mut H) {
        record.state.hash(state);
        self.owner(record.owner, state);
        self.fence(record.fence, state);
        record.attempt.hash(state);
        (record.ending == Some(Ending::Clean)).hash(state);
        record.at_most_once.hash(state);
        tick(record.expires_at).hash(state);
        record.steps.len().hash(state);
        self.value(&record.result, state);
    }

    fn call<H: Hasher>(&self, caller: &Caller, world: &State, state: &mut H) {
        match caller.phase {
            Phase::Ended(Answer::Value { of, life }) => {
                (true, self.caller(of), life).hash(state);
            }
            phase => (false, phase).hash(state),
        }
        caller.owners.hash(state);
        if caller.counts_its_lease() {
            caller.sent.hash(state);
        } else if caller.is_in_body() {
            (caller.sent < world.now).hash(state);
        }
        (world.history.judges_effects && caller.acted).hash(state);
        caller.held.is_some().hash(state);
        if let Some(held) = &caller.held {
            self.grant(&held.grant, state);
            held.life.hash(state);
        }
        caller.inbox.is_some().hash(state);
        if let Some(heard) = &caller.inbox {
            self.reply(&heard.reply, state);
            heard.life.hash(state);
        }
    }

    /// A hash of the messages, in any order, that `sender` or anybody has sent.
    fn messages(&self, messages: &[Message], sender: Option<u8>) -> u64 {
        let sent = messages
            .iter()
            .filter(|message| sender.is_none_or(|sender| message.from == sender));
        let hashes = sent.map(|message| {
            let mut hasher = hasher();
            self.message(message, &mut hasher);
            hasher.finish()
        });
        hashes.fold(0, u64::wrapping_add)
    }

    fn message<H: Hasher>(&self, message: &Message, state: &mut H) {
        self.caller(message.from).hash(state);
        (message.is_awaited, message.life).hash(state);
        std::mem::discriminant(&*message.operation).hash(state);
        match &*message.operation {
            Operation::Claim(request) => self.owner(request.owner, state),
            Operation::Complete { grant, completion } => {
                self.grant(grant, state);
                self.value(&completion.payload, state);
            }
            Operation::RecordStep { grant, .. } | Operation::Renew { grant, .. } => {
                self.grant(grant, state);
            }
            Operation::Release { holder, release } => {
                self.holder(*holder, state);
                (release.ending == Ending::Clean).hash(state);
                std::mem::discriminant(&release.mode).hash(state);
            }
            _ => {}
        }
    }

    fn reply<H: Hasher>(&self, reply: &Reply, state: &mut H) {
        std::mem::discriminant(reply).hash(state);
        match reply {
            Reply::Claim(claim) => {
                std::mem::discriminant(claim).hash(state);
                match claim {
                    Claim::Done(recorded) => self.value(&recorded.payload, state),
                    Claim::Granted(grant) => self.grant(grant, state),
                    Claim::InDoubt(Doubt { grant, .. }) => {
                        self.grant(grant, state);
                    }
                    _ => {}
                }
            }
            Reply::Step(step) => {
                std::mem::discriminant(step).hash(state);
                if let StepReply::Lost(found) = step {
                    self.found(found.as_ref(), state);
                }
            }
            Reply::Update(update) => {
                std::mem::discriminant(update).hash(state);
                if let Update::Lost(found) = update {
                    self.found(found.as_ref(), state);
                }
            }
            _ => {}
        }
    }

    fn found<H: Hasher>(&self, found: Option<&Found>, state: &mut H) {
        found.is_some().hash(state);
        let recorded = found.and_then(|found| found.recorded.as_ref());
        recorded.is_some().hash(state);
        if let Some(recorded) = recorded {
            self.value(&recorded.payload, state);
        }
    }

    fn value<H: Hasher>(&self, payload: &Payload, state: &mut H) {
        value_in(payload).map(|of| self.caller(of)).hash(state);
    }

    fn history<H: Hasher>(&self, history: &History, state: &mut H) {
        history.life.hash(state);
        tick(history.life_until).hash(state);
        self.fence(history.last_fence, state);
        self.fence(history.life_fence, state);
        (history.completions, history.began).hash(state);
        let mut broken = history.broken;
        if history.judges_effects {
            history.effects.hash(state);
        } else {
            broken.forgive_effects();
        }
        broken.hash(state);
        self.any_fence(history.stepped, state);
        let values = (0..).zip(&self.callers);
        let recorded = values.filter(|(of, _)| history.recorded & 1 << of != 0);
        recorded
            .fold(0_u8, |bits, (_, name)| bits | 1 << name)
            .hash(state);
    }
}

/// The same for every run, and much faster than the standard library's.
fn hasher() -> AHasher {
    RandomState::with_seeds(1, 2, 3, 4).build_hasher()
}

fn tick(moment: Timestamp) -> u64 {
    moment.as_micros() / TICK
}

/// All fences that anybody knows, in order.
fn fences(state: &State) -> Vec<Fence> {
    let History {
        last_fence,
        life_fence,
        stepped,
        ..
    } = state.history;
    let mut fences = vec![last_fence, life_fence];
    fences.extend(stepped);
    fences.extend(state.record.as_ref().map(|record| record.fence));
    for caller in &state.callers {
        fences.extend(caller.held.as_ref().map(|held| held.grant.fence));
        match caller.inbox.as_ref().map(|heard| &*heard.reply) {
            Some(Reply::Claim(Claim::Granted(grant))) => fences.push(grant.fence),
            Some(Reply::Claim(Claim::InDoubt(doubt))) => fences.push(doubt.grant.fence),
            _ => {}
        }
    }
    let holders = state
        .messages
        .iter()
        .filter_map(|message| holder(&message.operation));
    fences.extend(holders.filter_map(|holder| holder.fence));
    fences.sort_unstable();
    fences.dedup();
    fences
}
