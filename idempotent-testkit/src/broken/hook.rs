use std::fmt;

use idempotent_core::protocol::{Claim, ClaimRequest, Grant, Holder, Operation, Reply};
use idempotent_core::{Key, Page, Query, Record, State, Statistics, Step, Timestamp};

use super::Defect;
use crate::faults::Op;

/// Where a defect gets its fingers into a store that is sound otherwise.
#[derive(Clone, Copy)]
pub(super) enum Hook {
    /// Changes what an operation gave.
    After(fn(&mut After<'_>)),
    /// Changes the record, or the operation, before the specification sees them.
    Before(fn(&mut Before<'_>)),
    /// Looks at the record, and writes what follows from it later, whatever has come in between.
    CheckThenAct,
    /// Counts wrongly.
    Count(fn(&mut Statistics)),
    /// Deletes what it must not delete.
    DeleteAnything,
    /// Says that it has deleted, and has not.
    DeleteNothing,
    /// Shows an operator something else.
    Get(fn(&mut Record)),
    /// Takes keys for one another.
    Key(fn(&Key) -> Key),
    /// Keeps a lock that a dropped call has left behind.
    LeaveLocked,
    None,
    /// Loses entries of a page.
    Page(fn(&mut Page)),
    /// Each client has records of its own.
    PerClient,
    /// Removes more at once than it was asked to.
    PurgeAtOnce,
    /// Says that there is more, when it was asked to remove nothing.
    PurgeForEver,
    /// Removes these records too.
    PurgeLive(fn(&Record, Timestamp) -> bool),
    /// Lists something else than it was asked for.
    Query(fn(&mut Query)),
    /// Shows and lists what has expired.
    ShowExpired,
    /// Tells nobody that an attempt ended in this way.
    Silent(fn(State) -> bool),
}

impl Defect {
    pub(super) const fn new(
        name: &'static str,
        noticed_by: &'static [&'static str],
        hook: Hook,
    ) -> Self {
        Self {
            name,
            noticed_by,
            hook,
        }
    }

    pub(super) const fn before(
        name: &'static str,
        noticed_by: &'static [&'static str],
        change: fn(&mut Before<'_>),
    ) -> Self {
        Self::new(name, noticed_by, Hook::Before(change))
    }

    pub(super) const fn after(
        name: &'static str,
        noticed_by: &'static [&'static str],
        change: fn(&mut After<'_>),
    ) -> Self {
        Self::new(name, noticed_by, Hook::After(change))
    }
}

/// What the specification is about to see.
pub(super) struct Before<'a> {
    pub(super) slot: &'a mut Option<Record>,
    pub(super) operation: &'a mut Operation,
    pub(super) now: Timestamp,
}

impl Before<'_> {
    /// The record and the claim, if the operation is one and there is a record.
    pub(super) fn claim(&mut self) -> Option<(&mut Record, &mut ClaimRequest)> {
        match (self.slot.as_mut(), &mut *self.operation) {
            (Some(record), Operation::Claim(request)) => Some((record, request)),
            _ => None,
        }
    }

    /// The record and what the operation shows, if it is of this kind and there is a record.
    pub(super) fn write(&mut self, op: Op) -> Option<(&mut Record, Shown<'_>)> {
        if kind(self.operation) != op {
            return None;
        }
        Some((self.slot.as_mut()?, Shown::of(self.operation)?))
    }

    /// The grant of an operation of this kind.
    pub(super) fn grant(&mut self, op: Op) -> Option<&mut Grant> {
        match &mut *self.operation {
            Operation::Complete { grant, .. } if op == Op::Complete => Some(grant),
            Operation::Renew { grant, .. } if op == Op::Renew => Some(grant),
            _ => None,
        }
    }

    pub(super) fn step(&mut self) -> Option<&mut Step> {
        match &mut *self.operation {
            Operation::RecordStep { step, .. } => Some(step),
            _ => None,
        }
    }
}

/// By what an operation proves that it may write.
pub(super) enum Shown<'a> {
    Grant(&'a mut Grant),
    Holder(&'a mut Holder),
}

impl<'a> Shown<'a> {
    fn of(operation: &'a mut Operation) -> Option<Self> {
        match operation {
            Operation::Complete { grant, .. }
            | Operation::RecordStep { grant, .. }
            | Operation::Renew { grant, .. } => Some(Self::Grant(grant)),
            Operation::Release { holder, .. } => Some(Self::Holder(holder)),
            _ => None,
        }
    }

    pub(super) fn holder(&self) -> Holder {
        match self {
            Self::Grant(grant) => grant.holder(),
            Self::Holder(holder) => **holder,
        }
    }

    /// Whether it is what the record asks for.
    pub(super) fn holds(&self, record: &Record) -> bool {
        let Holder { owner, fence } = self.holder();
        owner == record.owner && fence.is_none_or(|fence| fence == record.fence)
    }

    /// Shows what the record asks for.
    pub(super) fn forge(&mut self, record: &Record) {
        match self {
            Self::Grant(grant) => (grant.owner, grant.fence) = (record.owner, record.fence),
            Self::Holder(holder) => {
                **holder = Holder {
                    owner: record.owner,
                    fence: Some(record.fence),
                };
            }
        }
    }
}

/// What the specification has given.
pub(super) struct After<'a> {
    pub(super) before: Option<&'a Record>,
    pub(super) slot: &'a mut Option<Record>,
    pub(super) operation: &'a Operation,
    pub(super) reply: &'a mut Reply,
    pub(super) now: Timestamp,
}

impl After<'_> {
    /// The record before, the record after and the reply, if the operation is of this kind and
    /// there was a record throughout.
    pub(super) fn of(&mut self, op: Op) -> Option<(&Record, &mut Record, &mut Reply)> {
        if kind(self.operation) != op {
            return None;
        }
        Some((self.before?, self.slot.as_mut()?, self.reply))
    }

    /// The record and the grant, if the operation is a claim that was granted.
    pub(super) fn granted(&mut self) -> Option<(&mut Record, &mut Grant)> {
        match (self.slot.as_mut(), &mut *self.reply) {
            (Some(record), Reply::Claim(Claim::Granted(grant))) => Some((record, grant)),
            _ => None,
        }
    }

    /// Undoes the operation, and replies something else.
    pub(super) fn refuse(&mut self, reply: Reply) {
        *self.slot = self.before.cloned();
        *self.reply = reply;
    }

    pub(super) fn is(&self, op: Op) -> bool {
        kind(self.operation) == op
    }
}

pub(super) fn kind(operation: &Operation) -> Op {
    match operation {
        Operation::Claim(_) => Op::Claim,
        Operation::Complete { .. } => Op::Complete,
        Operation::RecordStep { .. } => Op::RecordStep,
        Operation::Release { .. } => Op::Release,
        Operation::Renew { .. } => Op::Renew,
        operation => unreachable!("an operation of another version: {operation:?}"),
    }
}

/// Whether an attempt is in progress whose lease is over.
pub(super) fn has_lapsed(record: &Record, now: Timestamp) -> bool {
    record.state == State::InProgress && !record.is_held(now)
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}
