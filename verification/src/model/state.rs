//! One moment of the world: the store, the network, the callers, and what has happened.

use std::sync::Arc;

use idempotency::protocol::{Claim, Grant, Holder, Operation, Reply};
use idempotency::{Owner, Payload, Record, Timestamp};

use super::bounds::{Bounds, TICK};
use super::history::History;

/// One moment of the world.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    /// The tick, which all clocks show.
    pub(super) now: u8,
    /// How many grants there were: the store's clock never stands still between two.
    pub(super) grants: u8,
    /// How many misfortunes there may still be.
    pub(super) misfortunes: u8,
    /// What the store has.
    pub(super) record: Option<Record>,
    pub(super) callers: Vec<Caller>,
    /// Requests on their way to the store. One that is never delivered is a lost one.
    pub(super) messages: Vec<Message>,
    pub(super) history: History,
}

/// A call, and the process that makes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Caller {
    pub(super) phase: Phase,
    /// How many owners it has drawn.
    pub(super) owners: u8,
    /// When it last asked for a lease, by its own clock.
    pub(super) sent: u8,
    pub(super) held: Option<Held>,
    /// An answer of the store that it has not looked at yet.
    pub(super) inbox: Option<Heard>,
    /// Whether its body has had its effect.
    pub(super) acted: bool,
}

/// A grant, and the life of the key that it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Held {
    pub(super) grant: Arc<Grant>,
    pub(super) life: Life,
}

/// An answer of the store, and the life of the key that it speaks of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Heard {
    pub(super) reply: Arc<Reply>,
    pub(super) life: Life,
}

/// A request on its way.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    pub(super) from: u8,
    /// Whether the sender still waits for the answer.
    pub(super) is_awaited: bool,
    pub(super) operation: Arc<Operation>,
    /// The life that the sender's grant belongs to.
    pub(super) life: Life,
}

/// The number of a key's life: from its first grant until the store may forget it.
///
/// Grants of a life that ended because the store lost the record belong to none, until they are
/// healed into another.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Life(pub(super) u8);

impl Life {
    pub(super) const NONE: Self = Self(0);

    pub(super) fn or(self, other: Self) -> Self {
        if self == Self::NONE { other } else { self }
    }
}

/// Where a call is. The names follow the engine's: see the table in [`super`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Phase {
    Idle,
    /// A claim is out.
    Asking(Wants),
    /// Another attempt is in progress.
    Waiting(Wants),
    /// Granted; the body has not begun.
    Unrun,
    /// The grant came late, and its renewal is out.
    Renewing,
    Running(Body),
    /// The body has run a step, and its record is out.
    Recording,
    /// The result is out.
    Completing,
    /// A verdict on another call's doubt is out.
    Settling,
    Ended(Answer),
}

/// What a claim is for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Wants {
    /// To run, or to replay.
    Run,
    /// The result that counts in place of a late owner's.
    Winner,
    /// Nothing any more: the caller has gone away, and a grant is given back.
    Nothing,
}

/// How far a body is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Body {
    Began,
    /// Its step is recorded, now or by an earlier attempt, or it has none.
    Stepped,
    /// It has had its effect.
    Acted,
}

/// What a call has come to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Answer {
    /// An error, one that carries an unrecorded value among them; or nobody is there to hear any:
    /// crashed, cancelled or panicked.
    None,
    /// `Ok` without a mark: the value made by this caller's body, which counts in this life.
    Value { of: u8, life: Life },
}

impl State {
    pub(super) fn first(bounds: &Bounds) -> Self {
        Self {
            now: 0,
            grants: 0,
            misfortunes: bounds.misfortunes,
            record: None,
            callers: vec![Caller::idle(); usize::from(bounds.calls)],
            messages: Vec::new(),
            history: History::new(bounds.at_most_once),
        }
    }

    /// What the store's clock shows. It moves with every grant, so that fences say when theirs was.
    pub(super) fn clock(&self) -> Timestamp {
        // Time begins after the epoch: the first fence is no zero.
        Timestamp::from_micros(u64::from(self.now + 1) * TICK + u64::from(self.grants))
    }

    pub(super) fn caller(&self, index: u8) -> &Caller {
        &self.callers[usize::from(index)]
    }

    pub(super) fn caller_mut(&mut self, index: u8) -> &mut Caller {
        &mut self.callers[usize::from(index)]
    }
}

impl Caller {
    const fn idle() -> Self {
        Self {
            phase: Phase::Idle,
            owners: 0,
            sent: 0,
            held: None,
            inbox: None,
            acted: false,
        }
    }

    /// Whether it waits for an answer of the store.
    pub(super) const fn is_waiting_for_the_store(&self) -> bool {
        matches!(
            self.phase,
            Phase::Asking(_)
                | Phase::Completing
                | Phase::Recording
                | Phase::Renewing
                | Phase::Settling
        )
    }

    /// Whether it may as well look at once at what came in: to look later would be the same as to be
    /// answered later, or as a pause after it.
    pub(super) fn looks_at_once(&self) -> bool {
        let reply = self.inbox.as_ref().map(|heard| &*heard.reply);
        match self.phase {
            Phase::Asking(_) => {
                matches!(
                    reply,
                    Some(Reply::Claim(Claim::Busy { .. } | Claim::Done(_)))
                )
            }
            Phase::Completing | Phase::Recording => true,
            _ => false,
        }
    }

    /// Whether the moment of its last wish for a lease decides anything.
    pub(super) const fn counts_its_lease(&self) -> bool {
        matches!(
            self.phase,
            Phase::Asking(Wants::Run) | Phase::Renewing | Phase::Unrun
        )
    }

    /// Whether it has begun and not ended.
    pub(super) const fn is_active(&self) -> bool {
        !matches!(self.phase, Phase::Idle | Phase::Ended(_))
    }

    pub(super) const fn is_in_body(&self) -> bool {
        matches!(self.phase, Phase::Recording | Phase::Running(_))
    }
}

/// The `nth` owner that `caller` draws.
pub(super) const fn owner(caller: u8, nth: u8) -> Owner {
    let mut bytes = [0; 16];
    bytes[0] = caller;
    bytes[1] = nth;
    Owner::from_bytes(bytes)
}

/// Whose owner this is.
pub(super) const fn caller_of(owner: Owner) -> u8 {
    owner.as_bytes()[0]
}

/// Whose body made the value in `payload`.
pub(super) fn value_in(payload: &Payload) -> Option<u8> {
    payload.bytes.first().copied()
}

/// Who writes with this message, if it is a write.
pub(super) fn holder(operation: &Operation) -> Option<Holder> {
    match operation {
        Operation::Complete { grant, .. }
        | Operation::RecordStep { grant, .. }
        | Operation::Renew { grant, .. } => Some(grant.holder()),
        Operation::Release { holder, .. } => Some(*holder),
        _ => None,
    }
}
