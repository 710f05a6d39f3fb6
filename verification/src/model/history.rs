//! What has happened, as far as a promise speaks of it: seen from outside, and unknown to everybody.

use idempotency::protocol::{Claim, Completion, Grant, Operation, Reply, StepReply, Update};
use idempotency::{Fence, Record, State as Stands, Timestamp};

use super::promise::{Broken, Promise};
use super::state::{Held, Life, Message, caller_of, value_in};

/// What has happened.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct History {
    pub(super) life: Life,
    /// Until when the protocol lets nobody forget the record, whatever the store does.
    pub(super) life_until: Timestamp,
    /// The highest fence ever.
    pub(super) last_fence: Fence,
    /// The highest fence of this life.
    pub(super) life_fence: Fence,
    /// How many completions were accepted in this life; two stand for more.
    pub(super) completions: u8,
    /// How many effects there were in this life; two stand for more.
    pub(super) effects: u8,
    /// Whether a body has begun in this life.
    pub(super) began: bool,
    /// Under which fence the step was recorded in this life.
    pub(super) stepped: Option<Fence>,
    /// Whose values were ever recorded, a bit for each.
    pub(super) recorded: u8,
    pub(super) broken: Broken,
    /// Whether effects are promised to be rare, so that what has had one makes a difference.
    pub(super) judges_effects: bool,
}

/// The record before a message changed it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    held: Option<(Stands, Fence, u8)>,
}

impl Before {
    pub(super) fn of(record: Option<&Record>, now: Timestamp) -> Self {
        let live = record.filter(|record| !record.is_expired(now));
        Self {
            held: live.map(|record| (record.state, record.fence, caller_of(record.owner))),
        }
    }

    const fn was_absent(self) -> bool {
        self.held.is_none()
    }

    /// Whether `grant` is the answer to an earlier claim, given once more.
    fn had(self, grant: &Grant) -> bool {
        let same = (Stands::InProgress, grant.fence, caller_of(grant.owner));
        self.held == Some(same)
    }
}

impl History {
    pub(super) fn new(judges_effects: bool) -> Self {
        Self {
            life: Life::NONE,
            life_until: Timestamp::default(),
            last_fence: Fence::default(),
            life_fence: Fence::default(),
            completions: 0,
            effects: 0,
            began: false,
            stepped: None,
            recorded: 0,
            broken: Broken::default(),
            judges_effects,
        }
    }

    /// Notes what the store did with `message`, and returns the life that its reply speaks of.
    pub(super) fn note(
        &mut self,
        message: &Message,
        reply: &Reply,
        before: Before,
        after: Option<&Record>,
        now: Timestamp,
    ) -> Life {
        if let Some(record) = after {
            if before.was_absent() && now >= self.life_until {
                self.begin_life();
            }
            self.life_until = record.expires_at;
        }
        match (&*message.operation, reply) {
            (_, Reply::Claim(Claim::Granted(grant))) if !before.had(grant) => self.grant(grant),
            (
                Operation::Complete { grant, completion },
                Reply::Update(Update::Applied | Update::Healed),
            ) => self.complete(grant, completion, message.life),
            (Operation::RecordStep { grant, .. }, Reply::Step(StepReply::Recorded)) => {
                self.stepped = Some(grant.fence);
            }
            (Operation::Renew { grant, .. }, Reply::Update(Update::Healed)) => {
                self.life_fence = grant.fence;
            }
            _ => {}
        }
        match (&*message.operation, reply) {
            (
                Operation::Complete { .. },
                Reply::Update(Update::Applied | Update::Healed | Update::Repeated),
            ) => message.life.or(self.life),
            _ => self.life,
        }
    }

    /// The store has lost the record, and the key's life ends with it.
    pub(super) fn lose(&mut self, now: Timestamp) {
        self.life_until = now;
    }

    fn begin_life(&mut self) {
        *self = Self {
            life: Life(self.life.0 + 1),
            last_fence: self.last_fence,
            recorded: self.recorded,
            broken: self.broken,
            ..Self::new(self.judges_effects)
        };
    }

    fn grant(&mut self, grant: &Grant) {
        if grant.fence <= self.last_fence {
            self.broken.add(Promise::P4);
        }
        self.last_fence = self.last_fence.max(grant.fence);
        self.life_fence = grant.fence;
    }

    fn complete(&mut self, grant: &Grant, completion: &Completion, life: Life) {
        self.recorded |= 1 << value_in(&completion.payload).unwrap_or_default();
        if life.or(self.life) != self.life {
            return;
        }
        if grant.fence < self.life_fence {
            self.broken.add(Promise::P3);
        }
        self.life_fence = self.life_fence.max(grant.fence);
        self.completions = 2.min(self.completions + 1);
        if self.completions > 1 {
            self.broken.add(Promise::P1);
        }
    }

    /// A body begins.
    pub(super) fn begin(&mut self, held: &Held) {
        if held.life != self.life {
            return;
        }
        if held.grant.attempt == 1 && self.began {
            self.broken.add(Promise::P5);
        }
        self.began = true;
    }

    /// A body runs its step.
    pub(super) fn step(&mut self, held: &Held) {
        let is_later = |recorded: Fence| recorded < held.grant.fence;
        if held.life == self.life && self.stepped.is_some_and(is_later) {
            self.broken.add(Promise::P7);
        }
    }

    /// A body has its effect.
    pub(super) fn act(&mut self, held: &Held) {
        if held.life != self.life {
            return;
        }
        self.effects = 2.min(self.effects + 1);
        if self.effects > 1 {
            self.broken.add(Promise::E1);
        }
        if held.grant.fence < self.life_fence {
            self.broken.add(Promise::E2);
        }
    }

    /// A caller gets the value that `of`'s body made, without a mark.
    pub(super) const fn answer(&mut self, of: u8) {
        if self.recorded & 1 << of == 0 {
            self.broken.add(Promise::P6);
        }
    }
}
