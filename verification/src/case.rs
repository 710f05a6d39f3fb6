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
        }
    }

    pub(crate) const fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) fn into_parts(self) -> (String, Key, History, Vec<Violation>) {
        (self.name, self.key, self.history, self.violations)
    }

    /// An order for a call, whose body takes up to `longest` before and after its effect each.
    pub(crate) fn order(&self, world: &World, random: &mut Random, longest: Duration) -> Order {
        Order {
            call: world.number(),
            key: self.name.clone(),
            before: random.up_to(longest),
            after: random.up_to(longest),
            hook: None,
            fails: None,
            told: self.told,
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
            let answers = format!("still no value: {:?}", self.history.answers);
            self.accuse("P8", answers);
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
        loop {
            match worker.hear(order.call, Instant::now() + NEVER).await {
                Heard::At => {}
                Heard::Answer(at, answer) => {
                    self.history.answers.push(answer.clone());
                    return Ok(Some((at, answer)));
                }
                Heard::End => return Ok(None),
                Heard::Nothing => {
                    let text = format!("round {}: no answer within {NEVER:?}", self.round);
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
        since: Instant,
    ) -> Result<Option<Answer>> {
        let Some((at, answer)) = self.answer(worker, order).await? else {
            world.add("stuck keys", 1);
            return Ok(None);
        };
        let own = order.before + order.after;
        let waited = at.saturating_duration_since(since).saturating_sub(own);
        world.raise("slowest retry, ms", waited);
        let waited = waited.saturating_sub(world.excuse(since, at));
        if waited > world.settings.lease + PATIENCE + JITTER {
            world.add("stuck keys", 1);
            self.accuse("P8", format!("{waited:?} until {answer:?}"));
        }
        Ok(Some(answer))
    }
}
