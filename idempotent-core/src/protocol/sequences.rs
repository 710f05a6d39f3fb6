//! The rules, checked after each operation of a sequence that bytes describe.
//!
//! A property test draws the bytes at random. A fuzz target looks for those that reach what nothing
//! has reached before.

mod rules;

use std::time::Duration;

use bytes::Bytes;

use self::rules::judge;
use super::{
    Claim, ClaimRequest, Completion, Failures, Grant, Operation, Release, ReleaseMode, Reply,
    Update, apply,
};
use crate::clock::Timestamp;
use crate::codec::CodecId;
use crate::fingerprint::Fingerprint;
use crate::lease::{Fence, Owner};
use crate::record::{Ending, Payload, Record, Step};

const SECOND: Duration = Duration::from_secs(1);

const DURATIONS: [Duration; 8] = [
    SECOND,
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(60),
    Duration::from_micros(1),
    Duration::from_nanos(1),
    Duration::ZERO,
    Duration::MAX,
];

const PAUSES: [Duration; 8] = [
    SECOND,
    Duration::from_micros(999_999),
    Duration::from_micros(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(120),
    Duration::ZERO,
    Duration::MAX,
];

const STARTS: [u64; 4] = [1_700_000_000_000_000, 0, Fence::LIMIT - 3, u64::MAX - 3];

const MODES: [ReleaseMode; 3] = [ReleaseMode::Free, ReleaseMode::Hold, ReleaseMode::Note];

/// Runs the sequence that `bytes` describe on one key.
///
/// # Panics
///
/// Where a rule is broken.
pub fn check(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let mut key = Key {
        record: None,
        now: Timestamp::from_micros(choices.of(&STARTS)),
        grants: Vec::new(),
        unclean: Vec::new(),
    };
    while !choices.0.is_empty() {
        key.act(&mut choices);
    }
}

/// One key's record, a clock, and what is remembered beside them.
struct Key {
    record: Option<Record>,
    now: Timestamp,
    grants: Vec<Grant>,
    /// The grants of the record's life that may have begun.
    unclean: Vec<Fence>,
}

impl Key {
    fn act(&mut self, choices: &mut Choices<'_>) {
        match self.operation(choices) {
            Some(operation) => self.apply(&operation),
            None if choices.one_in(8) => self.record = None,
            None => self.pass(choices),
        }
    }

    fn pass(&mut self, choices: &mut Choices<'_>) {
        let pause = choices.of(&PAUSES);
        // A store's clock may step back.
        self.now = if choices.one_in(8) {
            self.now.minus(pause)
        } else {
            self.now.plus(pause)
        };
    }

    fn apply(&mut self, operation: &Operation) {
        let live = |record: &Record| !record.is_expired(self.now);
        let before = self.record.clone().filter(live);
        let mut purged = before.clone();
        let expected = apply(&mut purged, operation, self.now);
        let reply = apply(&mut self.record, operation, self.now);
        assert_eq!(reply, expected, "a purge is not to be seen");
        assert_eq!(
            self.record.as_ref().filter(|record| live(record)),
            purged.as_ref().filter(|record| live(record))
        );

        judge(
            before.as_ref(),
            operation,
            &reply,
            self.record.as_ref(),
            self.now,
        );
        self.remember(before.as_ref(), operation, &reply);
    }

    /// P5: attempt 1 means that nothing has run before in this life.
    fn remember(&mut self, before: Option<&Record>, operation: &Operation, reply: &Reply) {
        if before.is_none() {
            self.unclean.clear();
        }
        match (operation, reply) {
            (_, Reply::Claim(Claim::Granted(grant))) => {
                let is_first = self.unclean.iter().all(|fence| *fence == grant.fence);
                assert!(grant.attempt > 1 || is_first, "{grant:?} is not the first");
                self.unclean.push(grant.fence);
                self.grants.push(grant.clone());
            }
            (Operation::Release { release, .. }, Reply::Update(Update::Applied))
                if release.ending == Ending::Clean && release.mode == ReleaseMode::Free =>
            {
                let fence = before.map(|record| record.fence);
                self.unclean.retain(|unclean| Some(*unclean) != fence);
            }
            (
                Operation::Complete { grant, .. } | Operation::Renew { grant, .. },
                Reply::Update(Update::Healed),
            ) => self.unclean.push(grant.fence),
            _ => {}
        }
    }

    /// The next operation; `None` if something else happens, or there is no grant yet.
    fn operation(&self, choices: &mut Choices<'_>) -> Option<Operation> {
        Some(match choices.below(8) {
            0 | 1 => Operation::Claim(request(choices)),
            2 => Operation::Complete {
                grant: self.grant(choices)?,
                completion: completion(choices),
            },
            3 => Operation::RecordStep {
                grant: self.grant(choices)?,
                step: step(choices),
                lease: choices.of(&DURATIONS),
            },
            4 => {
                let mut release = Release::new(choices.of(&Ending::ALL), choices.of(&MODES));
                release.failures = choices.of(&Failures::ALL);
                let mut holder = self.grant(choices)?.holder();
                holder.fence = holder.fence.filter(|_| !choices.one_in(4));
                Operation::Release { holder, release }
            }
            5 => Operation::Renew {
                grant: self.grant(choices)?,
                lease: choices.of(&DURATIONS),
            },
            _ => return None,
        })
    }

    /// A grant that was made, mostly the last; now and then with something that was not.
    fn grant(&self, choices: &mut Choices<'_>) -> Option<Grant> {
        let back = usize::from(choices.of(&[1_u8, 1, 1, 2, 3]));
        let mut grant = self
            .grants
            .get(self.grants.len().checked_sub(back)?)?
            .clone();
        match choices.below(16) {
            0 => grant.owner = owner(choices),
            1 => grant.fence = Fence::from_u64(grant.fence.as_u64().wrapping_sub(1)),
            2 => grant.attempt = u32::MAX,
            _ => {}
        }
        Some(grant)
    }
}

fn owner(choices: &mut Choices<'_>) -> Owner {
    Owner::from_bytes([choices.below(4); 16])
}

fn request(choices: &mut Choices<'_>) -> ClaimRequest {
    let arguments = Fingerprint::from_bytes([choices.of(&[1, 1, 1, 2]); 32]);
    let (lease, ttl) = (choices.of(&DURATIONS), choices.of(&DURATIONS));
    let mut request = ClaimRequest::new(owner(choices), arguments, lease, ttl);
    request.keep = choices.of(&DURATIONS);
    request.at_most_once = choices.one_in(4);
    request.wait = choices.one_in(4);
    request
}

fn completion(choices: &mut Choices<'_>) -> Completion {
    let payload = Payload {
        codec: choices.of(&[CodecId::JSON, CodecId::NONE]),
        bytes: Bytes::from_static(choices.of(&[&b"1"[..], b"2", b""])),
    };
    let ttl = choices.of(&DURATIONS);
    if choices.one_in(4) {
        Completion::error(payload, ttl)
    } else {
        Completion::value(payload, ttl)
    }
}

fn step(choices: &mut Choices<'_>) -> Step {
    Step {
        name: choices.of(&["charge", "book", ""]).to_owned(),
        value: Bytes::from_static(choices.of(&[&b"1"[..], b"2", b""])),
    }
}

/// The choices that bytes make. When there are no more, each is the first.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn below(&mut self, limit: u8) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        first % limit
    }

    fn one_in(&mut self, n: u8) -> bool {
        self.below(n) == n - 1
    }

    fn of<T: Copy, const N: usize>(&mut self, choices: &[T; N]) -> T {
        let limit = u8::try_from(N).expect("a few choices");
        choices[usize::from(self.below(limit))]
    }
}
