//! What the hosts of a simulation share with its driver, and what is written down of it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use idempotency::protocol::{Claim, Operation, Reply, StepReply, Update};
use idempotency::{Event, Fence, Owner, Record, Timestamp};
use tokio::time::Instant;

use super::clock::{self, EPOCH};
use super::plan::{Call, Plan};
use super::server::{Records, refuses};
use crate::control::Control;
use crate::history::{History, Look, Resolution};
use crate::log::{Entry, Journal, What};
use crate::message::Answer;
use crate::random::Random;

/// How often a slow server is slow.
const SLOW_PERCENT: u64 = 40;

/// One simulation.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) plan: Plan,
    seed: u64,
    control: Option<Control>,
    /// When it begins.
    start: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    records: Records,
    /// What the server draws from when it is slow.
    random: Random,
    clients: Vec<Client>,
    /// The calls that have begun and not ended.
    open: BTreeMap<u64, Call>,
    /// How the calls have ended, and when: without an answer if nobody is there to have it.
    ended: BTreeMap<u64, (Duration, Option<Answer>)>,
    histories: BTreeMap<String, History>,
    /// Owners are random. Here, they go by the order in which the server has heard of them.
    owners: HashMap<Owner, usize>,
    counts: BTreeMap<String, u64>,
    text: String,
}

#[derive(Clone, Debug, Default)]
struct Client {
    /// How often it has started.
    lives: u64,
    /// In the order of their time.
    calls: VecDeque<Call>,
}

impl Scene {
    pub(super) fn new(seed: u64, plan: Plan, control: Option<Control>) -> Self {
        let mut clients = vec![Client::default(); plan.clients.len()];
        for call in &plan.calls {
            clients[call.client].calls.push_back(call.clone());
        }
        let histories = plan.keys.iter();
        let histories = histories.map(|key| (key.name.clone(), History::default()));
        let state = State {
            records: Records::default(),
            random: Random::new(seed, 1),
            clients,
            open: BTreeMap::new(),
            ended: BTreeMap::new(),
            histories: histories.collect(),
            owners: HashMap::new(),
            counts: BTreeMap::new(),
            text: String::new(),
        };
        Self {
            plan,
            seed,
            control,
            start: Instant::now(),
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what has happened.
    pub(super) fn note(&self, at: Duration, who: &str, what: &str) {
        self.state().note(at, who, what);
    }

    pub(super) fn add(&self, name: &str, count: u64) {
        self.state().add(name, count);
    }

    pub(super) fn jitter_seed(&self, client: usize, life: u64) -> u64 {
        let mut random = Random::new(self.seed, 16 * (life + 1) + client as u64);
        random.below(u64::MAX)
    }

    pub(super) fn server_starts(&self) {
        if !self.plan.variant.remembers() {
            self.state().records.forget();
        }
    }

    /// How long the server takes before and after it does what it was asked now.
    pub(super) fn stalls(&self, now: Duration) -> (Duration, Duration) {
        let stall = self
            .plan
            .stalls
            .iter()
            .find(|stall| stall.when.contains(&now));
        let mut state = self.state();
        let mut draw = |longest| {
            if state.random.percent(SLOW_PERCENT) {
                state.random.up_to(longest)
            } else {
                Duration::ZERO
            }
        };
        stall.map_or((Duration::ZERO, Duration::ZERO), |stall| {
            (draw(stall.longest), draw(stall.longest))
        })
    }

    /// Applies `operation`, as the server or as an operator. Returns the record that it has left.
    pub(super) fn apply(
        &self,
        key: &str,
        operation: &Operation,
        now: Timestamp,
    ) -> (Reply, Option<Record>) {
        let mut state = self.state();
        let before = state.records.get(key).cloned();
        let reply = state.records.apply(self.control, key, operation, now);
        let after = state.records.get(key).cloned();
        let name = name_of(key).to_owned();
        if before != after {
            let at = self.moment(now.since(EPOCH));
            state.history(&name).looks.push(Look {
                began: at,
                ended: at,
                record: after.clone(),
            });
        }
        let owner = state.owner(operation);
        let what = format!("{name} {} of {owner}: {}", verb(operation), said(&reply));
        state.note(now.since(EPOCH), "server", &what);
        state.add(
            "late completions refused",
            u64::from(refuses(operation, &reply)),
        );
        let heals = matches!(reply, Reply::Update(Update::Healed));
        state.add("records healed", u64::from(heals));
        (reply, after)
    }

    pub(super) fn record(&self, key: &str) -> Option<Record> {
        self.state().records.get(key).cloned()
    }

    /// Returns which of its lives a client begins.
    pub(super) fn client_starts(&self, client: usize) -> u64 {
        let mut state = self.state();
        state.clients[client].lives += 1;
        state.clients[client].lives
    }

    /// Ends the calls of a client that has crashed.
    pub(super) fn client_dies(&self, client: usize, now: Duration) {
        let mut state = self.state();
        let dead = state.open.iter();
        let dead = dead.filter(|(_, call)| call.client == client);
        let dead: Vec<u64> = dead.map(|(number, _)| *number).collect();
        for number in dead {
            state.open.remove(&number);
            state.ended.insert(number, (now, None));
        }
    }

    /// Has a client make a call that was not planned, as soon as it can.
    pub(super) fn order(&self, call: Call) {
        self.state().clients[call.client].calls.push_back(call);
    }

    /// The next call that a client is to make by now.
    pub(super) fn next_call(&self, client: usize, now: Duration) -> Option<Call> {
        let began = self.moment(now);
        let mut state = self.state();
        let calls = &mut state.clients[client].calls;
        if calls.front()?.at > now {
            return None;
        }
        let call = calls.pop_front()?;
        let history = state.history(&call.order.key);
        history.call_at(call.order.call, began);
        state.open.insert(call.order.call, call.clone());
        let what = format!("{} call {}", call.order.key, call.order.call);
        state.note(now, &format!("c{client}"), &what);
        state.add("calls", 1);
        Some(call)
    }

    /// Writes down what a caller got; nothing, if it did not wait for it.
    pub(super) fn call_ends(&self, call: &Call, answer: Option<Answer>, now: Duration) {
        let mut state = self.state();
        let number = call.order.call;
        state.open.remove(&number);
        let what = match &answer {
            None => format!("{} call {number} dropped", call.order.key),
            Some(answer) => format!("{} call {number}: {answer:?}", call.order.key),
        };
        state.note(now, &format!("c{}", call.client), &what);
        match &answer {
            None => state.add("calls dropped", 1),
            Some(answer) => state.add(&format!("answers: {}", answer.name()), 1),
        }
        if let Some(answer) = answer.clone() {
            let at = self.moment(now);
            state.history(&call.order.key).answer(number, at, answer);
        }
        state.ended.insert(number, (now, answer));
    }

    /// How a call has ended, if it has.
    pub(super) fn ended(&self, number: u64) -> Option<(Duration, Option<Answer>)> {
        self.state().ended.get(&number).cloned()
    }

    pub(super) fn history(&self, key: &str) -> History {
        self.state().history(key).clone()
    }

    pub(super) fn resolved(&self, key: &str, value: String, now: Duration) {
        let at = self.moment(now);
        self.state().history(key).resolution = Some(Resolution {
            began: at,
            ended: at,
            value,
        });
    }

    /// What a judge takes for the time at which so much of the simulation has gone by.
    pub(super) fn moment(&self, now: Duration) -> Instant {
        self.start + now
    }

    pub(super) fn text(&self) -> String {
        self.state().text.clone()
    }

    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        self.state().counts.clone()
    }
}

impl State {
    fn note(&mut self, at: Duration, who: &str, what: &str) {
        _ = writeln!(self.text, "{:>8.3} {who:<6} {what}", at.as_secs_f64());
    }

    fn add(&mut self, name: &str, count: u64) {
        *self.counts.entry(name.to_owned()).or_default() += count;
    }

    fn history(&mut self, key: &str) -> &mut History {
        self.histories.entry(key.to_owned()).or_default()
    }

    fn owner(&mut self, operation: &Operation) -> String {
        let owner = match operation {
            Operation::Claim(request) => request.owner,
            Operation::Complete { grant, .. }
            | Operation::RecordStep { grant, .. }
            | Operation::Renew { grant, .. } => grant.owner,
            Operation::Release { holder, .. } => holder.owner,
            operation => return format!("{operation:?}"),
        };
        let next = self.owners.len() + 1;
        format!("o{}", self.owners.entry(owner).or_insert(next))
    }
}

/// The caller's part of a key's text.
fn name_of(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

fn verb(operation: &Operation) -> String {
    match operation {
        Operation::Claim(_) => "claim".to_owned(),
        Operation::Complete { grant, .. } => format!("complete {}", shown(grant.fence)),
        Operation::RecordStep { step, .. } => format!("step {}", step.name),
        Operation::Release { holder, release } => {
            let fence = holder.fence.map_or_else(|| "unheard".to_owned(), shown);
            format!("release {fence} {:?} {:?}", release.mode, release.ending)
        }
        Operation::Renew { grant, .. } => format!("renew {}", shown(grant.fence)),
        operation => format!("{operation:?}"),
    }
}

fn said(reply: &Reply) -> String {
    match reply {
        Reply::Claim(Claim::Busy { remaining, attempt }) => {
            format!("busy with attempt {attempt} for {remaining:?}")
        }
        Reply::Claim(Claim::Done(recorded)) => format!("done by {}", shown(recorded.fence)),
        Reply::Claim(Claim::Granted(grant)) => {
            format!(
                "granted {} as attempt {}",
                shown(grant.fence),
                grant.attempt
            )
        }
        Reply::Claim(Claim::InDoubt(doubt)) => {
            format!("in doubt since {}", shown(doubt.grant.fence))
        }
        Reply::Update(Update::Lost(Some(found))) | Reply::Step(StepReply::Lost(Some(found))) => {
            format!("lost to {:?} {}", found.state, shown(found.fence))
        }
        Reply::Claim(claim) => format!("{claim:?}"),
        Reply::Step(step) => format!("{step:?}"),
        Reply::Update(update) => format!("{update:?}"),
        reply => format!("{reply:?}"),
    }
}

/// A fence by its time in the simulation.
fn shown(fence: Fence) -> String {
    format!("#{}", fence.granted_at().since(EPOCH).as_micros())
}

/// What one process writes down.
#[derive(Debug)]
pub(super) struct Notes {
    scene: Arc<Scene>,
    process: String,
}

impl Notes {
    pub(super) fn new(scene: &Arc<Scene>, process: String) -> Self {
        let scene = Arc::clone(scene);
        Self { scene, process }
    }

    /// Writes an event down.
    pub(super) fn note(&self, event: &Event<'_>) {
        let what = format!("event {} {}", event.kind().name(), event.detail());
        let what = what.trim_end();
        self.scene.note(clock::elapsed(), &self.process, what);
        self.scene
            .add(&format!("events: {}", event.kind().name()), 1);
    }
}

impl Journal for Notes {
    fn write(&self, mut entry: Entry, what: What) -> io::Result<()> {
        let now = clock::now();
        entry.what = what;
        entry.at = now.as_micros();
        let fence = shown(Fence::from_u64(entry.fence));
        let text = format!(
            "{} {what:?} {} attempt {} {fence}",
            entry.key, entry.execution, entry.attempt
        );
        let mut state = self.scene.state();
        state.note(now.since(EPOCH), &self.process, &text);
        state.history(&entry.key).entries.push(entry);
        Ok(())
    }
}
