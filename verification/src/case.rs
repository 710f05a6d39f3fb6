//! One key, while it is in use.

use std::time::Duration;

use anyhow::{Result, bail};
use idempotency::{Ending, Key};
use tokio::time::Instant;

use crate::history::History;
use crate::log::{Entry, What};
use crate::message::{Answer, Order};
use crate::process::{Heard, Worker};
use crate::random::Random;
use crate::report::Violation;
use crate::setup::Mode;
use crate::world::World;

/// What the machine may take over all that is promised before a key counts as stuck.
const JITTER: Duration = Duration::from_millis(250);
/// How late the next caller may be after the end of a lease.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a call may fail after the last fault, each time with tries of its own.
const RECOVERY_CALLS: usize = 5;
/// How long it takes at most until a body is at its hook.
const HOOK: Duration = Duration::from_secs(10);
/// What is counted when a store takes longer to answer than a lease lasts. It promises nothing then,
/// and the engine begins nothing.
pub(crate) const SLOW: &str = "calls for which the store was too slow";
/// How often a call is made anew for that reason.
const SLOW_CALLS: usize = 10;
/// When the harness stops waiting for an answer.
const NEVER: Duration = Duration::from_secs(20);

/// One key, and what is known of it.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) history: History,
    name: String,
    key: Key,
    told: bool,
    round: u64,
    violations: Vec<Violation>,
    /// When a write that somebody relied on was lost.
    lost: Option<Instant>,
}

/// What is kept of a key that is done.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) name: String,
    pub(crate) key: Key,
    pub(crate) history: History,
    pub(crate) violations: Vec<Violation>,
    pub(crate) lost: Option<Instant>,
}

impl Case {
    pub(crate) fn new(name: String, key: Key, told: bool, round: u64) -> Self {
        Self {
            history: History::default(),
            name,
            key,
            told,
            round,
            violations: Vec::new(),
            lost: None,
        }
    }

    pub(crate) const fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) fn close(self) -> Closed {
        Closed {
            name: self.name,
            key: self.key,
            history: self.history,
            violations: self.violations,
            lost: self.lost,
        }
    }

    /// Takes note that the store has lost, by `at`, something that it had acknowledged.
    pub(crate) const fn lose(&mut self, at: Instant) {
        self.lost = Some(at);
    }

    /// An order for a call that is about to be made, whose body takes up to `longest` before and
    /// after its effect each.
    pub(crate) fn order(&mut self, world: &World, random: &mut Random, longest: Duration) -> Order {
        let call = world.number();
        self.history.call(call);
        Order {
            call,
            key: self.name.clone(),
            before: random.up_to(longest),
            after: random.up_to(longest),
            told: self.told,
            ..Order::default()
        }
    }

    pub(crate) fn accuse(&mut self, promise: &'static str, text: impl Into<String>) {
        self.violations.push(Violation::new(promise, text));
    }

    /// Takes over what the bodies of `worker` have written down, and returns it.
    pub(crate) fn collect(&mut self, worker: &mut Worker) -> Result<Vec<Entry>> {
        let entries = worker.entries()?;
        if let Some(other) = entries.iter().find(|entry| entry.key != self.name) {
            bail!("a body runs after its round: {other:?}");
        }
        self.history.entries.extend(entries.iter().cloned());
        Ok(entries)
    }

    /// Makes the call, and waits until its body is at its hook. If the store is too slow, the call is
    /// made once more, under another number.
    pub(crate) async fn reach(
        &mut self,
        world: &World,
        worker: &mut Worker,
        order: &mut Order,
    ) -> Result<()> {
        worker.call(order).await?;
        for _ in 0..SLOW_CALLS {
            match worker.hear(order.call, Instant::now() + HOOK).await {
                Heard::At => return Ok(()),
                Heard::Answer(at, answer) => {
                    self.history.answer(order.call, at, answer.clone());
                    if answer == Answer::InDoubt {
                        world.resolve(self, None).await?;
                    } else if !self.was_slow(world, order.call) {
                        bail!("call {} is not at its hook: {answer:?}", order.call);
                    }
                    self.call_anew(world, worker, order).await?;
                }
                other => bail!("call {} is not at its hook: {other:?}", order.call),
            }
        }
        bail!("the store never answers within a lease")
    }

    /// Whether the call failed because the store, or the machine, took longer than a lease.
    pub(crate) fn was_slow(&self, world: &World, number: u64) -> bool {
        let mut calls = self.history.calls.iter();
        let Some(call) = calls.find(|call| call.number == number) else {
            return false;
        };
        match &call.answer {
            Some((at, Answer::InProgress | Answer::RolledBack(_) | Answer::Store(_))) => {
                *at - call.began > world.settings.lease * 9 / 10
            }
            _ => false,
        }
    }

    async fn call_anew(
        &mut self,
        world: &World,
        worker: &mut Worker,
        order: &mut Order,
    ) -> Result<()> {
        world.add(SLOW, 1);
        order.call = world.number();
        self.history.call(order.call);
        worker.call(order).await
    }

    /// Settles a doubt by what has been collected of the effect, and has `retrier` call again.
    pub(crate) async fn settle(
        &mut self,
        world: &World,
        retrier: &mut Worker,
        order: &Order,
    ) -> Result<()> {
        let effect = self.history.of(What::Effect).next();
        let value = effect.map(|effect| effect.execution.clone());
        world.resolve(self, value.as_deref()).await?;
        self.call_again(world, retrier, order).await
    }

    /// Has `retrier` call when all is settled, so that there must be a value.
    pub(crate) async fn call_again(
        &mut self,
        world: &World,
        retrier: &mut Worker,
        order: &Order,
    ) -> Result<()> {
        retrier.call(order).await?;
        let now = Instant::now();
        let answer = self.answer_in_time(world, retrier, order, now).await?;
        if answer.is_some_and(|answer| answer.value().is_none()) {
            let answers: Vec<_> = self.history.answers().collect();
            let text = format!("still no value: {answers:?}");
            self.accuse("P8", text);
        }
        Ok(())
    }

    /// Checks that `caller` gets a value again, now that nothing is in its way.
    pub(crate) async fn recovers(
        &mut self,
        world: &World,
        caller: &mut Worker,
        random: &mut Random,
    ) -> Result<bool> {
        let mut failures = Vec::new();
        for _ in 0..RECOVERY_CALLS {
            let order = self.order(world, random, Duration::ZERO);
            caller.call(&order).await?;
            match self.answer(caller, &order).await? {
                Some((_, answer)) if answer.value().is_none() => failures.push(answer),
                _ => return Ok(true),
            }
        }
        world.add("callers that never recovered", 1);
        let last = failures.pop();
        self.accuse(
            "recovery",
            format!("no answer although nothing is in the way: {last:?}"),
        );
        Ok(false)
    }

    /// Counts what came of the key.
    pub(crate) fn count(&self, world: &World) {
        let starts = self.history.of(What::Start);
        let lapsed = |entry: &&Entry| entry.previous == Some(Ending::Expired.letter());
        let takeovers = starts.filter(lapsed).count();
        world.add("takeovers", takeovers.try_into().unwrap_or(u64::MAX));
        let lease = u64::try_from(world.settings.lease.as_micros()).unwrap_or(u64::MAX);
        let starts = self.history.of(What::Start);
        let is_late = |entry: &&Entry| entry.at > entry.fence.saturating_add(lease);
        world.add(
            "bodies begun after their lease",
            starts.filter(is_late).count() as u64,
        );
        let effects = match self.history.of(What::Effect).count() {
            0 => "keys with no effect",
            1 => "keys with one effect",
            2 => "keys with two effects",
            _ => "keys with three effects or more",
        };
        world.add(effects, 1);
    }

    /// Waits for the answer to `order` for as long as it takes.
    pub(crate) async fn answer(
        &mut self,
        worker: &mut Worker,
        order: &Order,
    ) -> Result<Option<(Instant, Answer)>> {
        self.answer_within(NEVER, worker, order).await
    }

    /// Waits for the answer to `order`, which comes within `limit` or never.
    pub(crate) async fn answer_within(
        &mut self,
        limit: Duration,
        worker: &mut Worker,
        order: &Order,
    ) -> Result<Option<(Instant, Answer)>> {
        loop {
            match worker.hear(order.call, Instant::now() + limit).await {
                Heard::At => {}
                Heard::Answer(at, answer) => {
                    self.history.answer(order.call, at, answer.clone());
                    return Ok(Some((at, answer)));
                }
                Heard::End => return Ok(None),
                Heard::Nothing => {
                    let text = format!("round {}: no answer within {limit:?}", self.round);
                    self.accuse("P8", text);
                    return Ok(None);
                }
            }
        }
    }

    /// Accuses an answer to a retry that nothing explains. Returns whether it is a doubt.
    pub(crate) fn is_doubt(&mut self, world: &World, answer: Option<&Answer>) -> bool {
        match answer {
            // A retry may itself lose its lease, on a machine that has too much to do.
            None | Some(Answer::Value(..) | Answer::LeaseLost(_)) => false,
            Some(Answer::InDoubt) if world.setup.mode == Mode::InDoubt => true,
            Some(answer) => {
                self.accuse("P8", format!("a retry got {answer:?}"));
                false
            }
        }
    }

    /// Waits for the answer to `order`, which P8 promises within a lease and a second after `since`.
    pub(crate) async fn answer_in_time(
        &mut self,
        world: &World,
        worker: &mut Worker,
        order: &Order,
        mut since: Instant,
    ) -> Result<Option<Answer>> {
        let mut order = order.clone();
        let mut answered = self.answer(worker, &order).await?;
        for _ in 0..SLOW_CALLS {
            if !self.was_slow(world, order.call) {
                break;
            }
            self.call_anew(world, worker, &mut order).await?;
            since = Instant::now();
            answered = self.answer(worker, &order).await?;
        }
        Ok(self.in_time(world, &order, since, answered))
    }

    /// Accuses an answer to `order` that did not come within a lease and a second after `since`.
    pub(crate) fn in_time(
        &mut self,
        world: &World,
        order: &Order,
        since: Instant,
        answered: Option<(Instant, Answer)>,
    ) -> Option<Answer> {
        let Some((at, answer)) = answered else {
            world.add("stuck keys", 1);
            return None;
        };
        let own = order.before + order.after;
        let waited = at.saturating_duration_since(since).saturating_sub(own);
        world.raise("slowest retry, ms", waited);
        let waited = waited.saturating_sub(world.excuse(since, at));
        if waited > world.settings.lease + PATIENCE + JITTER {
            world.add("stuck keys", 1);
            self.accuse("P8", format!("{waited:?} until {answer:?}"));
        }
        Some(answer)
    }
}
