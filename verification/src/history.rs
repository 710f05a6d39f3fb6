//! The judge: what a key has been through, and which promise that breaks.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use idempotency::{Ending, Record, State};
use tokio::time::Instant;

use crate::log::{Entry, What};
use crate::message::{Answer, Mark};
use crate::once;
use crate::records::value_of;
use crate::report::Violation;
use crate::setup::{Effects, Mode};

/// How much earlier than the end of a lease a takeover may seem to be, for the rounding of stores.
const ROUNDING: Duration = Duration::from_millis(3);
/// What holds whatever becomes of the records.
const WITHOUT_MEMORY: [&str; 4] = ["P4", "lease", "contract", "harness"];

/// Everything that is known of one key.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// What the bodies have written down, in any order.
    pub(crate) entries: Vec<Entry>,
    pub(crate) calls: Vec<Call>,
    /// The record, each time that somebody looked.
    pub(crate) looks: Vec<Look>,
    /// The rows of the effect, where it has any, each time that somebody looked.
    pub(crate) rows: Vec<RowsLook>,
    /// What an operator has said of a doubt.
    pub(crate) resolution: Option<Resolution>,
}

/// A call, from before the caller was told to make it until its answer was heard.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) number: u64,
    pub(crate) began: Instant,
    pub(crate) answer: Option<(Instant, Answer)>,
}

/// A look at the record.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) record: Option<Record>,
}

/// A look at the rows of an effect, by the executions that have written them: before a look at the
/// record, and after it. What is committed stays, so that these three can be compared.
#[derive(Clone, Debug)]
pub(crate) struct RowsLook {
    pub(crate) before: Vec<String>,
    pub(crate) record: Option<Record>,
    pub(crate) after: Vec<String>,
}

/// The value with which a doubt was resolved.
#[derive(Clone, Debug)]
pub(crate) struct Resolution {
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) value: String,
}

/// What a key's history is judged by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) mode: Mode,
    /// `None` if the calls had different ones.
    pub(crate) lease: Option<Duration>,
    pub(crate) effects: Effects,
}

impl History {
    pub(crate) fn of(&self, what: What) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.what == what)
    }

    /// A call is about to be made.
    pub(crate) fn call(&mut self, number: u64) {
        self.call_at(number, Instant::now());
    }

    pub(crate) fn call_at(&mut self, number: u64, began: Instant) {
        self.calls.push(Call {
            number,
            began,
            answer: None,
        });
    }

    /// The call with this number was answered.
    pub(crate) fn answer(&mut self, number: u64, at: Instant, answer: Answer) {
        let mut calls = self.calls.iter_mut();
        if let Some(call) = calls.find(|call| call.number == number) {
            call.answer = Some((at, answer));
        }
    }

    /// What the callers got.
    pub(crate) fn answers(&self) -> impl Iterator<Item = &Answer> {
        let answers = self.calls.iter().filter_map(|call| call.answer.as_ref());
        answers.map(|(_, answer)| answer)
    }

    /// The value with which an operator has resolved a doubt.
    pub(crate) fn resolved(&self) -> Option<&str> {
        let resolution = self.resolution.as_ref();
        resolution.map(|resolution| &*resolution.value)
    }

    /// The record at the last look.
    pub(crate) fn record(&self) -> Option<&Record> {
        self.looks.last()?.record.as_ref()
    }

    /// Whether the record was in doubt when somebody looked.
    pub(crate) fn was_in_doubt(&self) -> bool {
        let mut records = self.looks.iter().filter_map(|look| look.record.as_ref());
        records.any(|record| record.state == State::InDoubt)
    }

    /// The value that is recorded, if one is.
    pub(crate) fn recorded(&self) -> Option<String> {
        let record = self.record()?;
        (record.state == State::Completed)
            .then(|| value_of(record).unwrap_or_else(|error| format!("unreadable: {error}")))
    }

    /// Judges all promises but P7, for which the functions would need steps, and P8, for which
    /// somebody has to look at a clock while the key is in use.
    pub(crate) fn judge(&self, rules: Rules) -> Vec<Violation> {
        let mut violations = Vec::new();
        let mut say = |promise, text: String| violations.push(Violation::new(promise, text));
        self.judge_completion(rules, &mut say);
        self.judge_answers(&mut say);
        self.judge_order(&mut say);
        match rules.effects {
            Effects::Lines => {
                self.judge_attempts(rules, &mut say);
                self.judge_effects(rules, &mut say);
            }
            // An attempt that was rolled back has never been, so that nobody is told of it.
            Effects::Rows => self.judge_rows(&mut say),
        }
        violations
    }

    /// Judges a key whose record was lost at `lost`: what is broken although it is promised all the
    /// same, and what is not promised then.
    ///
    /// After the loss, all callers get one value, and it is recorded. Fences rise, and leases hold, in
    /// any case.
    pub(crate) fn judge_loss(
        &self,
        rules: Rules,
        lost: Instant,
    ) -> (Vec<Violation>, Vec<Violation>) {
        let all = self.judge(rules).into_iter();
        let (mut broken, mut given_up): (Vec<_>, Vec<_>) =
            all.partition(|violation| WITHOUT_MEMORY.contains(&violation.promise));
        let since = self.since(lost);
        let mut say = |promise, text: String| broken.push(Violation::new(promise, text));
        since.judge_answers(&mut say);
        since.judge_order(&mut say);
        given_up.retain(|violation| !broken.contains(violation));
        (broken, given_up)
    }

    /// What can still be seen of the key after `lost`: an answer or a look from before is left out.
    fn since(&self, lost: Instant) -> Self {
        let mut since = self.clone();
        let is_over = |call: &Call| call.answer.as_ref().is_some_and(|(at, _)| *at < lost);
        since.calls.retain(|call| !is_over(call));
        since.looks.retain(|look| look.began >= lost);
        since
    }

    /// P1: one completion for each life of a key. P3: an owner that was taken over never commits.
    fn judge_completion(&self, rules: Rules, say: &mut impl FnMut(&'static str, String)) {
        let mut finished: Option<&Record> = None;
        for look in &self.looks {
            let look = &look.record;
            match (finished, look) {
                (Some(first), None) => say("P1", format!("{} is gone", shown(first))),
                (Some(first), Some(now)) if !same_completion(first, now) => {
                    say("P1", format!("{} became {}", shown(first), shown(now)));
                }
                _ => {}
            }
            finished = finished.or_else(|| look.as_ref().filter(|look| look.state.is_finished()));
        }
        let Some((record, value)) = self.record().zip(self.recorded()) else {
            return;
        };
        if self.resolved() == Some(&value) {
            return;
        }
        let Some(winner) = self.of(What::Start).find(|entry| entry.execution == value) else {
            return say("P3", format!("nobody has returned {}", shown(record)));
        };
        if winner.fence != record.fence.as_u64() || winner.attempt != record.attempt {
            let text = format!(
                "{winner} is recorded under another grant, {}",
                shown(record)
            );
            say("P3", text);
        }
        // Whoever waited for a transaction has a fence from before the wait: it may be lower than that of
        // an attempt which was rolled back meanwhile.
        let is_later =
            |entry: &&Entry| rules.effects == Effects::Lines && entry.fence > winner.fence;
        for later in self.of(What::Start).filter(is_later) {
            say(
                "P3",
                format!("{winner} has committed after {later} took over"),
            );
        }
    }

    /// P2: all who get `Ok` get the same value. P6: an `Ok` without a mark was recorded.
    fn judge_answers(&self, say: &mut impl FnMut(&'static str, String)) {
        let recorded = self.recorded();
        let mut values: Vec<&str> = self.answers().filter_map(Answer::value).collect();
        for value in &values {
            if recorded.as_deref() != Some(value) {
                let found = self.record().map_or_else(|| "nothing".to_owned(), shown);
                say(
                    "P6",
                    format!("a caller got {value}, and recorded is {found}"),
                );
            }
            let is_effect = |entry: &Entry| entry.execution == *value;
            if !self.of(What::Effect).any(is_effect) && self.resolved() != Some(value) {
                say(
                    "P6",
                    format!("a caller got {value}, whose effect never happened"),
                );
            }
        }
        values.sort_unstable();
        values.dedup();
        if values.len() > 1 {
            say("P2", format!("callers got {}", values.join(" and ")));
        }
        for answer in self.answers() {
            match answer {
                Answer::Value(value, Some(Mark::Executed(attempt))) => {
                    let own = self.of(What::Start).find(|entry| entry.execution == *value);
                    if let Some(own) = own.filter(|own| own.attempt != *attempt) {
                        say(
                            "P5",
                            format!("the caller of {own} was told of attempt {attempt}"),
                        );
                    }
                }
                Answer::Value(value, Some(Mark::Unprotected)) => {
                    say("P6", format!("{value} ran unprotected"));
                }
                Answer::Unexpected(text) => say("contract", format!("a caller got: {text}")),
                _ => {}
            }
        }
    }

    /// All that callers and onlookers saw can have happened one after the other.
    fn judge_order(&self, say: &mut impl FnMut(&'static str, String)) {
        if !once::is_linearizable(self) {
            let answers: Vec<_> = self.answers().collect();
            say("linearizable", format!("no order explains {answers:?}"));
        }
    }

    /// P4: fences rise strictly. P5: attempt 1 means that nothing ran before. And a lease holds.
    fn judge_attempts(&self, rules: Rules, say: &mut impl FnMut(&'static str, String)) {
        let mut starts: Vec<&Entry> = self.of(What::Start).collect();
        starts.sort_unstable_by_key(|entry| (entry.fence, entry.at));
        for pair in starts.windows(2) {
            let [earlier, later] = pair else { continue };
            if later.attempt == 1 {
                say(
                    "P5",
                    format!("{later} took itself for the first, after {earlier}"),
                );
            } else if later.attempt <= earlier.attempt {
                say("P5", format!("{later} did not know of {earlier}"));
            }
            if later.fence <= earlier.fence {
                say("P4", format!("{later} has no higher fence than {earlier}"));
            }
            let waited = Duration::from_micros(later.fence.saturating_sub(earlier.fence));
            let lapsed = [Ending::Expired, Ending::Cancelled, Ending::Panicked];
            if let Some(lease) = rules.lease
                && lapsed
                    .iter()
                    .any(|end| later.previous == Some(end.letter()))
                && waited + ROUNDING < lease
            {
                let text = format!("{later} took over {waited:?} after {earlier}");
                say("lease", text);
            }
        }
    }

    /// At most one effect in doubt; otherwise each further one by an attempt that knew.
    fn judge_effects(&self, rules: Rules, say: &mut impl FnMut(&'static str, String)) {
        let effects: Vec<&Entry> = self.of(What::Effect).collect();
        if rules.mode == Mode::InDoubt && effects.len() > 1 {
            let effects: Vec<String> = effects.iter().map(ToString::to_string).collect();
            say(
                "at most once",
                format!("effects of {}", effects.join(" and ")),
            );
        }
        let mut unaware: BTreeMap<u32, u32> = BTreeMap::new();
        for effect in &effects {
            *unaware.entry(effect.attempt).or_default() += 1;
        }
        for (attempt, count) in unaware.into_iter().filter(|(_, count)| *count > 1) {
            say(
                "effect",
                format!("{count} effects, each of an attempt {attempt}"),
            );
        }
        let started: HashSet<&str> = self
            .of(What::Start)
            .map(|entry| &*entry.execution)
            .collect();
        for effect in effects {
            if !started.contains(&*effect.execution) {
                say("harness", format!("{effect} has not started"));
            }
        }
    }

    /// One row at most, at any time; and row and record together, or neither.
    fn judge_rows(&self, say: &mut impl FnMut(&'static str, String)) {
        for look in &self.rows {
            let RowsLook {
                before,
                record,
                after,
            } = look;
            let most = before.len().max(after.len());
            if most > 1 {
                say("one row", format!("there are {most}: {}", after.join(", ")));
            }
            match record {
                Some(record) if record.state.is_finished() => {
                    let value = value_of(record).unwrap_or_default();
                    if !after.contains(&value) {
                        let text = format!("{} is recorded without its row", shown(record));
                        say("together", text);
                    }
                }
                unfinished => {
                    if let Some(row) = before.first() {
                        say("together", format!("the row of {row} has no record"));
                    }
                    if let Some(record) = unfinished {
                        let text = format!("{} is seen before its commit", shown(record));
                        say("together", text);
                    }
                }
            }
        }
        if let Some(last) = self.rows.last()
            && last.after.is_empty()
        {
            say("one row", "there is none in the end".to_owned());
        }
    }
}

fn same_completion(first: &Record, now: &Record) -> bool {
    first.state == now.state && first.fence == now.fence && first.result == now.result
}

fn shown(record: &Record) -> String {
    let value = value_of(record).unwrap_or_default();
    format!(
        "{:?} {value} (attempt {}, fence {}, late {})",
        record.state, record.attempt, record.fence, record.late
    )
}

#[cfg(test)]
mod tests;
