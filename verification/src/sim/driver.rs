//! One seed from its beginning to its judgement.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Result, anyhow};
use idempotency::protocol::{Completion, Doubt, Operation, Release, ReleaseMode};
use idempotency::{Ending, Key, State};
use turmoil::{Builder, Sim};

use super::client;
use super::clock::EPOCH;
use super::plan::{
    BODY, CALM, CLIENTS, Call, Direction, END, Fault, LEASE, Plan, TIMEOUTS, Variant,
};
use super::scene::Scene;
use super::server::{self, HOST};
use crate::body::SCOPES;
use crate::control::Control;
use crate::history::Rules;
use crate::log::What;
use crate::message::{Answer, Order};
use crate::records::payload;
use crate::report::Violation;
use crate::setup::{Effects, Mode};

/// How likely a message repairs a lossy link, and breaks it.
const REPAIR_RATE: f64 = 0.3;
const FAIL_RATE: f64 = 0.1;
/// How many messages may be under way to one socket.
const CAPACITY: usize = 4_096;
/// How long after the last fault nobody is still held up by it: a request that was lost is given up.
const SETTLED: Duration = Duration::from_millis(100).saturating_add(TIMEOUTS[2]);
/// How long it may take until a caller has a value once nothing is in its way: the lease, the longest
/// pause between two polls (1 s), and a body. An owner that has not yet recorded its result keeps its
/// lease, and pauses for up to 2 s between two tries.
const FINISHED: Duration = Duration::from_secs(3)
    .saturating_add(LEASE)
    .saturating_add(BODY)
    .saturating_add(BODY);
/// When a simulation that does not end is ended.
const NEVER: Duration = Duration::from_secs(60);
/// The numbers of calls that were not planned begin here.
const CLOSING: u64 = 1_000;

/// What came of a seed.
#[derive(Clone, Debug)]
pub(super) struct Played {
    pub(super) variant: Variant,
    pub(super) counts: BTreeMap<String, u64>,
    pub(super) violations: Vec<Violation>,
    /// All that has happened, line by line. It is the same whenever the seed is the same.
    pub(super) history: String,
}

/// Plays `seed`.
pub(super) fn play(seed: u64, control: Option<Control>) -> Result<Played> {
    let mut driver = Driver::new(seed, control);
    driver.run_until(END + SETTLED, |_| false)?;
    driver.calm();
    driver.finish()?;
    Ok(driver.judge())
}

struct Driver {
    sim: Sim<'static>,
    scene: Arc<Scene>,
    /// The next fault of the plan.
    next: usize,
    /// How many calls were made beside the plan.
    closing: u64,
    violations: Vec<Violation>,
}

impl Driver {
    fn new(seed: u64, control: Option<Control>) -> Self {
        let plan = Plan::draw(seed);
        let mut sim = Builder::new()
            .rng_seed(seed)
            .epoch(UNIX_EPOCH + Duration::from_micros(EPOCH.as_micros()))
            .simulation_duration(NEVER)
            .min_message_latency(Duration::ZERO)
            .max_message_latency(plan.latency)
            .repair_rate(REPAIR_RATE)
            // A link that was held for long delivers everything at once.
            .tcp_capacity(CAPACITY)
            .enable_random_order()
            .build();
        let scene = Arc::new(Scene::new(seed, plan, control));
        let at_server = Arc::clone(&scene);
        sim.host(HOST, move || server::serve(Arc::clone(&at_server)));
        for client in 0..CLIENTS {
            let scene = Arc::clone(&scene);
            sim.host(name(client), move || {
                client::run(Arc::clone(&scene), client)
            });
        }
        Self {
            sim,
            scene,
            next: 0,
            closing: CLOSING,
            violations: Vec::new(),
        }
    }

    /// Lets the time go by until `until`, or until `is_done`.
    fn run_until(&mut self, until: Duration, is_done: impl Fn(&Scene) -> bool) -> Result<()> {
        while self.sim.elapsed() < until && !is_done(&self.scene) {
            self.fail_as_planned();
            let stepped = self.sim.step();
            stepped.map_err(|error| anyhow!("the simulation itself fails: {error}"))?;
        }
        Ok(())
    }

    fn fail_as_planned(&mut self) {
        let now = self.sim.elapsed();
        while let Some((at, fault)) = self.scene.plan.faults.get(self.next).copied()
            && at <= now
        {
            self.next += 1;
            self.scene.note(now, "fault", &format!("{fault:?}"));
            if let Some(name) = fault.name() {
                self.scene.add(name, 1);
            }
            self.apply(fault);
        }
    }

    fn apply(&mut self, fault: Fault) {
        let sim = &mut self.sim;
        match fault {
            Fault::ClientDown(client) => {
                sim.crash(name(client));
                self.scene.client_dies(client, sim.elapsed());
            }
            Fault::ClientUp(client) => sim.bounce(name(client)),
            Fault::ServerDown => sim.crash(HOST),
            Fault::ServerUp => sim.bounce(HOST),
            Fault::Hold(client) => sim.hold(name(client), HOST),
            Fault::Release(client) => sim.release(name(client), HOST),
            Fault::Partition(client) => sim.partition(name(client), HOST),
            Fault::OneWay(client, Direction::Requests) => sim.partition_oneway(name(client), HOST),
            Fault::OneWay(client, Direction::Answers) => sim.partition_oneway(HOST, name(client)),
            Fault::Lossy(client) => sim.set_link_fail_rate(name(client), HOST, FAIL_RATE),
            Fault::Slow(client, latency) => {
                let latency = latency.max(self.scene.plan.latency);
                sim.set_link_max_message_latency(name(client), HOST, latency);
            }
            Fault::Repair(client) => {
                let latency = self.scene.plan.latency;
                sim.set_link_fail_rate(name(client), HOST, 0.0);
                sim.set_link_max_message_latency(name(client), HOST, latency);
                sim.repair(name(client), HOST);
            }
            // The client knows by itself.
            Fault::Pause(..) => {}
        }
    }

    /// Makes the network a good one.
    fn calm(&self) {
        for client in 0..CLIENTS {
            self.sim
                .set_link_max_message_latency(name(client), HOST, CALM);
        }
    }

    /// Has everybody call again now that nothing is in the way: P8, and what everybody gets.
    fn finish(&mut self) -> Result<()> {
        let keys = self.scene.plan.keys.clone();
        let until = self.sim.elapsed() + FINISHED;
        let mut left: Vec<usize> = (0..keys.len()).collect();
        while !left.is_empty() {
            let answers = self.call(left.iter().map(|key| (*key, key % CLIENTS)), until)?;
            let late = self.sim.elapsed() >= until;
            left.retain(|key| match &answers[key] {
                Some(answer) if answer.value().is_some() => false,
                Some(Answer::InDoubt) if self.scene.plan.variant.mode() == Mode::InDoubt => {
                    self.resolve(*key);
                    true
                }
                _ => true,
            });
            if late && !left.is_empty() {
                for key in left {
                    let text = format!("{}: no value after {FINISHED:?}", keys[key].name);
                    self.violations.push(Violation::new("P8", text));
                }
                return Ok(());
            }
        }
        let until = self.sim.elapsed() + FINISHED;
        let mut values: BTreeMap<usize, String> = BTreeMap::new();
        for client in 0..CLIENTS {
            let answers = self.call((0..keys.len()).map(|key| (key, client)), until)?;
            for (key, answer) in answers {
                let name = &keys[key].name;
                let Some(value) = answer.as_ref().and_then(Answer::value) else {
                    let text = format!("{name}: no replay but {answer:?}");
                    self.violations.push(Violation::new("P8", text));
                    continue;
                };
                let first = values.entry(key).or_insert_with(|| value.to_owned());
                if first != value {
                    let text = format!("{name}: replays of {first} and of {value}");
                    self.violations.push(Violation::new("P2", text));
                }
            }
        }
        Ok(())
    }

    /// Has clients call with keys, and waits for their answers until `until`.
    fn call(
        &mut self,
        calls: impl Iterator<Item = (usize, usize)>,
        until: Duration,
    ) -> Result<BTreeMap<usize, Option<Answer>>> {
        let mut made = BTreeMap::new();
        for (key, client) in calls {
            let case = &self.scene.plan.keys[key];
            self.closing += 1;
            let order = Order {
                call: self.closing,
                key: case.name.clone(),
                told: case.told,
                ..Order::default()
            };
            let at = self.sim.elapsed();
            self.scene.order(Call {
                client,
                at,
                order,
                dropped_after: None,
            });
            made.insert(key, self.closing);
        }
        let numbers: Vec<u64> = made.values().copied().collect();
        self.run_until(until, |scene| {
            numbers.iter().all(|number| scene.ended(*number).is_some())
        })?;
        let answer = |number| self.scene.ended(number).and_then(|(_, answer)| answer);
        Ok(made
            .into_iter()
            .map(|(key, number)| (key, answer(number)))
            .collect())
    }

    /// Settles a doubt as an operator would who knows of the effect.
    fn resolve(&self, key: usize) {
        let case = &self.scene.plan.keys[key];
        let Ok(full) = Key::new(SCOPES[usize::from(case.told)], &case.name) else {
            return;
        };
        let Some(record) = self.scene.record(full.as_str()) else {
            return;
        };
        if record.state != State::InDoubt {
            // Its owner was quicker.
            return;
        }
        let grant = Doubt::of(&record).grant;
        let history = self.scene.history(&case.name);
        let effect = history.of(What::Effect).next();
        let value = effect.map(|effect| effect.execution.clone());
        let operation = match &value {
            Some(value) => {
                let completion = Completion::value(payload(value), Duration::from_secs(86_400));
                Operation::Complete { grant, completion }
            }
            None => Operation::Release {
                holder: grant.holder(),
                release: Release::new(Ending::Expired, ReleaseMode::Free),
            },
        };
        if let Some(value) = value {
            self.scene.resolved(&case.name, value, self.sim.elapsed());
        }
        self.scene.add("doubts settled", 1);
        let now = EPOCH.plus(self.sim.elapsed());
        self.scene.apply(full.as_str(), &operation, now);
    }

    fn judge(mut self) -> Played {
        let variant = self.scene.plan.variant;
        let rules = Rules {
            mode: variant.mode(),
            lease: Some(LEASE),
            effects: Effects::Lines,
        };
        for case in &self.scene.plan.keys {
            let history = self.scene.history(&case.name);
            let found = if variant.remembers() {
                history.judge(rules)
            } else {
                // Only what holds in any case: an answer may come long after it was lost.
                history.judge_loss(rules, self.scene.moment(NEVER)).0
            };
            self.violations.extend(found.into_iter().map(|violation| {
                Violation::new(
                    violation.promise,
                    format!("{}: {}", case.name, violation.text),
                )
            }));
            if rules.mode == Mode::Rerun
                && history.answers().any(|answer| *answer == Answer::InDoubt)
            {
                let text = format!("{}: in doubt, where another is to run", case.name);
                self.violations.push(Violation::new("contract", text));
            }
            let starts = history.of(What::Start);
            let expired = Some(Ending::Expired.letter());
            let takeovers = starts.filter(|start| start.previous == expired).count();
            self.scene.add("takeovers", takeovers as u64);
            self.scene
                .add("executions", history.of(What::Start).count() as u64);
            let effects = match history.of(What::Effect).count() {
                0 => "keys with no effect",
                1 => "keys with one effect",
                2 => "keys with two effects",
                _ => "keys with three effects or more",
            };
            self.scene.add(effects, 1);
        }
        self.scene.add("rounds", 1);
        Played {
            variant,
            counts: self.scene.counts(),
            violations: self.violations,
            history: self.scene.text(),
        }
    }
}

fn name(client: usize) -> String {
    format!("c{client}")
}
