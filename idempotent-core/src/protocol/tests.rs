//! Every rule of the protocol at its boundaries. A test names the rule that it shows.

mod claim;
mod complete;
mod doubt;
mod fence;
mod healing;
mod release;
mod renew;
mod steps;
mod takeover;

use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{
    Claim, ClaimRequest, Completion, Doubt, Failures, Found, Grant, Operation, Release,
    ReleaseMode, Reply, StepReply, Update, apply,
};
use crate::clock::Timestamp;
use crate::codec::CodecId;
use crate::fingerprint::Fingerprint;
use crate::lease::{Fence, Owner};
use crate::record::{Ending, Payload, Record, State, Step};

const LEASE: Duration = Duration::from_secs(30);
const TTL: Duration = Duration::from_secs(60 * 60 * 24);
const MICRO: Duration = Duration::from_micros(1);
const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

/// One key's record, and a clock.
#[derive(Clone, Debug)]
struct Slot {
    record: Option<Record>,
    now: Timestamp,
}

impl Slot {
    const fn new() -> Self {
        Self {
            record: None,
            now: START,
        }
    }

    /// A slot that was claimed by `request`, and the grant.
    fn granted(request: &ClaimRequest) -> (Self, Grant) {
        let mut slot = Self::new();
        let grant = slot.grant(request);
        (slot, grant)
    }

    fn pass(&mut self, duration: Duration) {
        self.now = self.now.plus(duration);
    }

    fn record(&self) -> &Record {
        self.record.as_ref().expect("there is a record")
    }

    /// What the owner of `grant` finds.
    fn found(&self, grant: &Grant) -> Found {
        Found::of(self.record(), grant.owner, self.now)
    }

    fn apply(&mut self, operation: &Operation) -> Reply {
        apply(&mut self.record, operation, self.now)
    }

    fn claim(&mut self, request: &ClaimRequest) -> Claim {
        match self.apply(&Operation::Claim(request.clone())) {
            Reply::Claim(claim) => claim,
            reply => panic!("{reply:?} is no answer to a claim"),
        }
    }

    fn grant(&mut self, request: &ClaimRequest) -> Grant {
        match self.claim(request) {
            Claim::Granted(grant) => grant,
            claim => panic!("not granted: {claim:?}"),
        }
    }

    fn complete(&mut self, grant: &Grant, completion: &Completion) -> Update {
        self.update(&Operation::Complete {
            grant: grant.clone(),
            completion: completion.clone(),
        })
    }

    fn renew(&mut self, grant: &Grant, lease: Duration) -> Update {
        self.update(&Operation::Renew {
            grant: grant.clone(),
            lease,
        })
    }

    fn release(&mut self, grant: &Grant, ending: Ending, mode: ReleaseMode) -> Update {
        let release = Release::new(ending, mode);
        self.update(&Operation::Release {
            holder: grant.holder(),
            release,
        })
    }

    fn step(&mut self, grant: &Grant, step: &Step, lease: Duration) -> StepReply {
        let operation = Operation::RecordStep {
            grant: grant.clone(),
            step: step.clone(),
            lease,
        };
        match self.apply(&operation) {
            Reply::Step(reply) => reply,
            reply => panic!("{reply:?} is no answer to a step"),
        }
    }

    fn update(&mut self, operation: &Operation) -> Update {
        match self.apply(operation) {
            Reply::Update(update) => update,
            reply => panic!("{reply:?} is no answer to an update"),
        }
    }
}

fn just_before(duration: Duration) -> Duration {
    duration.saturating_sub(MICRO)
}

fn owner(number: u8) -> Owner {
    Owner::from_bytes([number; 16])
}

fn fingerprint(arguments: &str) -> Fingerprint {
    Fingerprint::of(arguments).unwrap()
}

/// A claim by the caller with this number, with the arguments that all callers share.
fn request(caller: u8) -> ClaimRequest {
    ClaimRequest::new(owner(caller), fingerprint("3 apples"), LEASE, TTL)
}

fn other_arguments(caller: u8) -> ClaimRequest {
    ClaimRequest {
        fingerprint: fingerprint("4 apples"),
        ..request(caller)
    }
}

fn at_most_once(caller: u8) -> ClaimRequest {
    ClaimRequest {
        at_most_once: true,
        ..request(caller)
    }
}

fn waiting(caller: u8) -> ClaimRequest {
    ClaimRequest {
        wait: true,
        ..request(caller)
    }
}

fn payload(text: &'static str) -> Payload {
    Payload {
        codec: CodecId::JSON,
        bytes: Bytes::from_static(text.as_bytes()),
    }
}

fn value(text: &'static str) -> Completion {
    Completion::value(payload(text), TTL)
}

fn error(text: &'static str) -> Completion {
    Completion::error(payload(text), TTL)
}

fn step(name: &str, value: &'static str) -> Step {
    Step {
        name: name.to_owned(),
        value: Bytes::from_static(value.as_bytes()),
    }
}

/// A slot in each state that a record can be in, an expired lease among them, and its last grant.
fn every_state() -> Vec<(&'static str, Slot, Grant)> {
    let (held, grant) = Slot::granted(&request(1));
    let after = |change: &dyn Fn(&mut Slot, &Grant)| {
        let mut slot = held.clone();
        change(&mut slot, &grant);
        slot
    };
    let slots = [
        (
            "completed",
            after(&|slot, grant| _ = slot.complete(grant, &value("paid"))),
        ),
        (
            "failed",
            after(&|slot, grant| _ = slot.complete(grant, &error("declined"))),
        ),
        (
            "in doubt",
            after(&|slot, grant| _ = slot.release(grant, Ending::Cancelled, ReleaseMode::Hold)),
        ),
        ("in progress", held.clone()),
        ("lapsed", after(&|slot, _| slot.pass(LEASE))),
        (
            "released",
            after(&|slot, grant| _ = slot.release(grant, Ending::Error, ReleaseMode::Free)),
        ),
    ];
    slots
        .into_iter()
        .map(|(name, slot)| (name, slot, grant.clone()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever is asked, in whatever order and at whatever time.
    #[test]
    fn every_sequence_of_operations_keeps_the_rules(bytes in vec(any::<u8>(), 0..400)) {
        super::sequences::check(&bytes);
    }
}
