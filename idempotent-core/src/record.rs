//! What a store keeps for one key.

use std::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::codec::CodecId;
use crate::fingerprint::Fingerprint;
use crate::lease::{Fence, Owner};

/// Where a record stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum State {
    /// Finished with a value, which is replayed.
    Completed,
    /// Finished with a recorded error, which is replayed.
    Failed,
    /// Nobody knows whether the effect happened. Nothing runs until somebody resolves it.
    InDoubt,
    /// An attempt runs, or ran and has not been heard of since.
    InProgress,
    /// A tombstone: the last attempt gave up, and the next may run at once.
    Released,
}

impl State {
    /// All states, in alphabetical order.
    pub const ALL: [Self; 5] = [
        Self::Completed,
        Self::Failed,
        Self::InDoubt,
        Self::InProgress,
        Self::Released,
    ];

    /// The letter that stores keep.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Completed => 'C',
            Self::Failed => 'F',
            Self::InDoubt => 'I',
            Self::InProgress => 'P',
            Self::Released => 'R',
        }
    }

    /// The state with this letter.
    #[must_use]
    pub fn from_letter(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.letter() == letter)
    }

    /// Whether there is a result, or a recorded error, to replay.
    #[must_use]
    pub const fn is_finished(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }
}

/// How an attempt ended without a result.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Ending {
    /// Its future was dropped.
    Cancelled,
    /// The operation surely never began.
    Clean,
    /// The operation returned an error that was not recorded.
    Error,
    /// Its lease ran out, and nobody knows why: a crash, a pause, a partition.
    Expired,
    /// The store had lost the record, and the attempt itself wrote it anew: what came before it is
    /// not known.
    Healed,
    /// The operation panicked.
    Panicked,
    /// It could not go on: its steps are not those that are recorded, or it has failed too often.
    Stuck,
}

impl Ending {
    /// All endings, in alphabetical order.
    pub const ALL: [Self; 7] = [
        Self::Cancelled,
        Self::Clean,
        Self::Error,
        Self::Expired,
        Self::Healed,
        Self::Panicked,
        Self::Stuck,
    ];

    /// Whether the operation itself may be to blame: it returned an error or panicked, or fell silent,
    /// perhaps because it took its process along.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        match self {
            Self::Error | Self::Expired | Self::Panicked => true,
            Self::Cancelled | Self::Clean | Self::Healed | Self::Stuck => false,
        }
    }

    /// The letter that stores keep.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Cancelled => 'c',
            Self::Clean => 'n',
            Self::Error => 'e',
            Self::Expired => 'x',
            Self::Healed => 'h',
            Self::Panicked => 'p',
            Self::Stuck => 's',
        }
    }

    /// The ending with this letter.
    #[must_use]
    pub fn from_letter(letter: char) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|ending| ending.letter() == letter)
    }
}

/// A finished part of an operation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    /// Unique within the record.
    pub name: String,
    /// What the step gave.
    pub value: Bytes,
}

/// An encoded result, and who can decode it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Payload {
    /// The codec, or [`CodecId::NONE`] if the result could not be kept.
    pub codec: CodecId,
    /// The encoded result; empty without a codec.
    pub bytes: Bytes,
}

/// One key's whole state. [`apply`](crate::protocol::apply) is the only thing that changes it.
///
/// A store may keep it in any form, as long as every field comes back.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// Where it stands.
    pub state: State,
    /// The last grant's secret.
    pub owner: Owner,
    /// The last grant's number, and its time.
    pub fence: Fence,
    /// 1 for the first attempt in this record's life; one more for each that may have begun.
    pub attempt: u32,
    /// How many attempts [failed](Ending::is_failure), since the count last began anew.
    pub failures: u32,
    /// How the attempt before the current one ended. `None` for the first.
    pub previous: Option<Ending>,
    /// How the current attempt is ending, or has ended.
    pub ending: Option<Ending>,
    /// Whether a silent owner leaves the record in doubt, where otherwise the next caller runs.
    pub at_most_once: bool,
    /// Digest of the arguments.
    pub fingerprint: Fingerprint,
    /// When the first attempt was granted.
    pub started_at: Timestamp,
    /// How long the record outlives its lease, or its release.
    pub keep: Duration,
    /// When the record is gone. In progress, this is the end of the lease plus `keep`.
    pub expires_at: Timestamp,
    /// How many completions of late owners were refused: effects that happened twice.
    pub late: u32,
    /// Whether somebody waits to be told when the attempt ends.
    pub waiter: bool,
    /// The finished parts of the operation, in the order of their recording. None once finished.
    pub steps: Vec<Step>,
    /// The result, once finished.
    pub result: Payload,
    /// When it was finished.
    pub completed_at: Option<Timestamp>,
}

impl Record {
    /// A record in progress under its first grant, made at `fence`'s time, with every optional
    /// field at its beginning. Stores that read a record back set the fields they have kept.
    #[must_use]
    pub const fn new(owner: Owner, fence: Fence, fingerprint: Fingerprint) -> Self {
        Self {
            state: State::InProgress,
            owner,
            fence,
            attempt: 1,
            failures: 0,
            previous: None,
            ending: None,
            at_most_once: false,
            fingerprint,
            started_at: fence.granted_at(),
            keep: Duration::ZERO,
            expires_at: fence.granted_at(),
            late: 0,
            waiter: false,
            steps: Vec::new(),
            result: Payload {
                codec: CodecId::NONE,
                bytes: Bytes::new(),
            },
            completed_at: None,
        }
    }

    /// Whether the record counts as absent at `now`, purged or not.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at <= now
    }

    /// The end of the current lease; meaningful only in progress.
    #[must_use]
    pub fn lease_until(&self) -> Timestamp {
        self.expires_at.minus(self.keep)
    }

    /// Whether an attempt is in progress, and its lease has not run out.
    #[must_use]
    pub fn is_held(&self, now: Timestamp) -> bool {
        self.state == State::InProgress && self.lease_until() > now
    }
}
