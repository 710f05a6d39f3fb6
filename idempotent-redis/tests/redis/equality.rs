//! The store answers as [`apply`] does, and leaves the records that it leaves.

use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;
use idempotent_core::protocol::{
    Claim, ClaimRequest, Completion, Failures, Grant, Operation, Release, ReleaseMode, Reply, apply,
};
use idempotent_core::{
    CodecId, Ending, Fence, Fingerprint, Inspect, Key, Owner, Payload, Record, State, Step, Store,
    Timestamp,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

use crate::support::{World, command, key, redis_key};
use crate::times::{Times, earlier};

/// By how much two times of one moment may differ. Far less than what the durations below differ by.
const TOLERANCE: Duration = Duration::from_millis(900);
/// What the store takes off the window for healing, at most.
const HEALING_MARGIN: Duration = Duration::from_secs(1);

/// Sums of these never come within 25 ms of a lease, a ttl, or half a ttl.
const PASSING: [u64; 6] = [1_300, 3_900, 7_700, 31_100, 1_800_300, 4_000_700];
const LEASES: [u64; 2] = [5_050, 60_050];
const KEEPS: [u64; 3] = [3_050, 30_050, 3_600_050];
const TTLS: [u64; 3] = [4_050, 20_050, 3_600_050];

/// One of the grants that there have been, counted from the last, and whether its fence is forged.
type Pick = (usize, bool);

/// What happens next.
#[derive(Clone, Debug)]
enum Action {
    Claim {
        owner: usize,
        fingerprint: usize,
        lease: u64,
        keep: u64,
        ttl: u64,
        flags: (bool, bool),
    },
    Complete {
        grant: Pick,
        failed: bool,
        payload: usize,
        ttl: u64,
    },
    Lose,
    Pass(u64),
    RecordStep {
        grant: Pick,
        name: usize,
        value: usize,
        lease: u64,
    },
    Release {
        grant: Pick,
        with_fence: bool,
        ending: usize,
        mode: usize,
        failures: usize,
    },
    Renew {
        grant: Pick,
        lease: u64,
    },
}

fn action() -> impl Strategy<Value = Action> {
    use prop::sample::select;
    let claim = (
        0..3_usize,
        0..5_usize,
        select(&LEASES[..]),
        select(&KEEPS[..]),
        select(&TTLS[..]),
    )
        .prop_flat_map(|(owner, fingerprint, lease, keep, ttl)| {
            let flags = (prop::bool::weighted(0.2), any::<bool>());
            flags.prop_map(move |flags| {
                // Mostly the same arguments.
                let fingerprint = usize::from(fingerprint == 0);
                Action::Claim {
                    owner,
                    fingerprint,
                    lease,
                    keep,
                    ttl,
                    flags,
                }
            })
        });
    let grant = || {
        (
            prop_oneof![4 => Just(0_usize), 1 => 0..4_usize],
            prop::bool::weighted(0.1),
        )
    };
    prop_oneof![
        6 => claim,
        3 => (grant(), prop::bool::weighted(0.3), 0..4_usize, select(&TTLS[..])).prop_map(
            |(grant, failed, payload, ttl)| Action::Complete { grant, failed, payload, ttl },
        ),
        1 => Just(Action::Lose),
        4 => select(&PASSING[..]).prop_map(Action::Pass),
        2 => (grant(), 0..4_usize, 0..4_usize, select(&LEASES[..])).prop_map(
            |(grant, name, value, lease)| Action::RecordStep { grant, name, value, lease },
        ),
        4 => (grant(), prop::bool::weighted(0.8), 0..6_usize, 0..3_usize, 0..3_usize).prop_map(
            |(grant, with_fence, ending, mode, failures)| {
                Action::Release { grant, with_fence, ending, mode, failures }
            },
        ),
        2 => (grant(), select(&LEASES[..])).prop_map(|(grant, lease)| Action::Renew { grant, lease }),
    ]
}

/// One key in the store, and the record that it should have.
struct Pair<'a> {
    world: &'a World,
    key: Key,
    owners: [Owner; 3],
    record: Option<Record>,
    grants: Vec<Granted>,
    /// How far the model's clock is ahead of the server's.
    ahead: Duration,
}

/// A grant, as either side has given it.
#[derive(Clone)]
struct Granted {
    by_model: Grant,
    by_store: Grant,
}

impl<'a> Pair<'a> {
    fn new(world: &'a World, key: Key) -> Self {
        let owners = [(); 3].map(|()| Owner::random().unwrap());
        Self {
            world,
            key,
            owners,
            record: None,
            grants: Vec::new(),
            ahead: Duration::ZERO,
        }
    }

    async fn run(&mut self, action: &Action) {
        match *action {
            Action::Lose => {
                self.record = None;
                () = self
                    .world
                    .ask(command(&["DEL"]).arg(redis_key(&self.key)))
                    .await;
            }
            Action::Pass(millis) => self.pass(Duration::from_millis(millis)).await,
            Action::Claim {
                owner,
                fingerprint,
                lease,
                keep,
                ttl,
                flags,
            } => {
                let owner = if owner == 0 {
                    Owner::random().unwrap()
                } else {
                    self.owners[owner]
                };
                let fingerprint = Fingerprint::of(&fingerprint).unwrap();
                let (lease, ttl) = (Duration::from_millis(lease), Duration::from_millis(ttl));
                let mut request = ClaimRequest::new(owner, fingerprint, lease, ttl);
                request.keep = Duration::from_millis(keep);
                (request.at_most_once, request.wait) = flags;
                self.claim(&request).await;
            }
            Action::Complete { grant, .. }
            | Action::RecordStep { grant, .. }
            | Action::Release { grant, .. }
            | Action::Renew { grant, .. } => {
                let (back, forged) = grant;
                let picked = self.grants.iter().rev().nth(back).cloned();
                if let Some(mut granted) = picked {
                    if forged {
                        granted.by_model.fence = next(granted.by_model.fence);
                        granted.by_store.fence = next(granted.by_store.fence);
                    }
                    self.write(action, &granted).await;
                }
            }
        }
    }

    async fn claim(&mut self, request: &ClaimRequest) {
        let now = self.now().await;
        let mut expected = self.record.clone();
        let reply = apply(&mut expected, &Operation::Claim(request.clone()), now);
        let claim = self.world.store.claim(&self.key, request).await.unwrap();

        if let (Claim::Granted(found), Reply::Claim(Claim::Granted(model))) = (&claim, &reply) {
            let known = |granted: &Granted| granted.by_store.holder() == found.holder();
            let is_known = self.grants.iter().any(known);
            let before = self
                .record
                .as_ref()
                .filter(|before| !before.is_expired(now));
            // A forged grant may have been healed, and is not among those that were given.
            let last = before.and_then(|before| {
                let is_last = |granted: &&Granted| granted.by_model.fence == before.fence;
                Some((before, self.grants.iter().find(is_last)?.by_store.fence))
            });
            if let Some((before, last)) = last {
                let own = before.owner == request.owner && before.state == State::InProgress;
                assert_eq!(is_known, own, "only an own grant is given twice");
                assert!(
                    found.fence > last || own,
                    "{:?} after {last:?}",
                    found.fence
                );
            }
            let granted = Granted {
                by_model: model.clone(),
                by_store: found.clone(),
            };
            self.grants
                .retain(|granted| granted.by_store.holder() != found.holder());
            self.grants.push(granted);
        }
        self.compare(
            expected,
            reply,
            Reply::Claim(claim),
            &format!("{request:?}"),
        )
        .await;
    }

    async fn write(&mut self, action: &Action, granted: &Granted) {
        let now = self.now().await;
        let age = now.since(granted.by_model.fence.granted_at());
        let window = granted.by_model.healing_window();
        let may_heal = matches!(action, Action::Complete { .. } | Action::Renew { .. });
        if may_heal && age + HEALING_MARGIN > window && age < window {
            // The store may refuse already what the model still does.
            return;
        }
        let mut expected = self.record.clone();
        let reply = apply(&mut expected, &operation(action, &granted.by_model), now);
        let (store, key) = (&self.world.store, &self.key);
        let operation = operation(action, &granted.by_store);
        let found = match &operation {
            Operation::Complete { grant, completion } => {
                Reply::Update(store.complete(key, grant, completion).await.unwrap())
            }
            Operation::RecordStep { grant, step, lease } => {
                Reply::Step(store.record_step(key, grant, step, *lease).await.unwrap())
            }
            Operation::Release { holder, release } => {
                Reply::Update(store.release(key, holder, *release).await.unwrap())
            }
            Operation::Renew { grant, lease } => {
                Reply::Update(store.renew(key, grant, *lease).await.unwrap())
            }
            _ => unreachable!("not a write"),
        };
        self.compare(expected, reply, found, &format!("{operation:?}"))
            .await;
    }

    /// Compares what the model says with what the store says, and has.
    async fn compare(
        &mut self,
        expected: Option<Record>,
        reply: Reply,
        mut found: Reply,
        operation: &str,
    ) {
        found.shift(self.ahead);
        found.align(&reply, TOLERANCE);
        assert_eq!(found, reply, "to {operation}\non {:?}", self.record);

        let mut record = self.world.store.get(&self.key).await.unwrap();
        record.shift(self.ahead);
        record.align(&expected, TOLERANCE);
        assert_eq!(record, expected, "after {operation}\non {:?}", self.record);
        self.record = expected;
    }

    /// Lets time pass: all that the server remembers is made older.
    async fn pass(&mut self, duration: Duration) {
        self.ahead += duration;
        for Granted { by_store, .. } in &mut self.grants {
            by_store.fence = earlier(by_store.fence, duration);
            by_store.started_at = by_store.started_at.minus(duration);
        }
        let key = redis_key(&self.key);
        let fence: String = self
            .world
            .ask(command(&["GETRANGE"]).arg(&key).arg(37).arg(52))
            .await;
        let Ok(fence) = fence.parse::<u64>() else {
            return;
        };
        let fence = format!("{:016}", earlier(Fence::from_u64(fence), duration));
        () = self
            .world
            .ask(command(&["SETRANGE"]).arg(&key).arg(37).arg(fence))
            .await;
        let end: i64 = self.world.ask(command(&["PEXPIRETIME"]).arg(&key)).await;
        let end = end - i64::try_from(duration.as_millis()).unwrap();
        () = self
            .world
            .ask(command(&["PEXPIREAT"]).arg(&key).arg(end))
            .await;
    }

    async fn now(&self) -> Timestamp {
        let (seconds, micros): (u64, u64) = self.world.ask(&command(&["TIME"])).await;
        Timestamp::from_micros(seconds * 1_000_000 + micros).plus(self.ahead)
    }
}

fn next(fence: Fence) -> Fence {
    Fence::from_u64(fence.as_u64() + 1)
}

/// What the owner of `grant` asks for.
fn operation(action: &Action, grant: &Grant) -> Operation {
    match *action {
        Action::Complete {
            failed,
            payload,
            ttl,
            ..
        } => {
            let codec = if payload == 3 {
                CodecId::NONE
            } else {
                CodecId::JSON
            };
            let bytes = [&b"{}"[..], b"1,2:|\0\xff", b"", b""][payload];
            let payload = Payload {
                codec,
                bytes: Bytes::from_static(bytes),
            };
            let mut completion = Completion::value(payload, Duration::from_millis(ttl));
            completion.failed = failed;
            Operation::Complete {
                grant: grant.clone(),
                completion,
            }
        }
        Action::RecordStep {
            name, value, lease, ..
        } => {
            let name = ["charge", "mail", "1,2:|", ""][name].to_owned();
            let value = [&b"ch_1"[..], b"", b"|3,4:|\0\xff", b"1,1:ab"][value];
            let step = Step {
                name,
                value: Bytes::from_static(value),
            };
            Operation::RecordStep {
                grant: grant.clone(),
                step,
                lease: Duration::from_millis(lease),
            }
        }
        Action::Release {
            with_fence,
            ending,
            mode,
            failures,
            ..
        } => {
            let mut holder = grant.holder();
            holder.fence = holder.fence.filter(|_| with_fence);
            let mode = [ReleaseMode::Free, ReleaseMode::Hold, ReleaseMode::Note][mode];
            let mut release = Release::new(Ending::ALL[ending], mode);
            release.failures = Failures::ALL[failures];
            Operation::Release { holder, release }
        }
        Action::Renew { lease, .. } => Operation::Renew {
            grant: grant.clone(),
            lease: Duration::from_millis(lease),
        },
        Action::Claim { .. } | Action::Lose | Action::Pass(_) => unreachable!("not an owner's"),
    }
}

#[test]
fn the_store_answers_as_the_specification_does() {
    let runtime = Runtime::new().unwrap();
    let world = runtime.block_on(World::start());
    let sequences = std::env::var("PROPTEST_CASES").map_or(4_000, |cases| cases.parse().unwrap());
    let config = Config {
        cases: sequences,
        failure_persistence: None,
        ..Config::default()
    };
    let number = Cell::new(0);
    let actions = prop::collection::vec(action(), 1..25);
    let outcome = TestRunner::new(config).run(&actions, |actions| {
        number.set(number.get() + 1);
        let mut pair = Pair::new(&world, key(&number.get().to_string()));
        runtime.block_on(async {
            for action in &actions {
                pair.run(action).await;
            }
        });
        Ok(())
    });
    outcome.unwrap();
}
