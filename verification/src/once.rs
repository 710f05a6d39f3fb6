//! A key as a register that is written once, and whether what was seen of it has an order.
//!
//! In the order that is looked for, the first call that succeeds fixes the value, and each later one
//! returns it. No call comes before one that was answered before it began. The judge's rules P2 and
//! P6 say nothing about such an order: a caller that finds nothing after another was told a value
//! breaks neither.

use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};
use tokio::time::Instant;

use crate::history::{Call, History, Look};
use crate::log::What;
use crate::message::Answer;
use crate::records::value_of;

/// The value that is fixed, if one is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Once(Option<String>);

impl SequentialSpec for Once {
    /// The value that the call has, and that it fixes if it is the first.
    type Op = Option<String>;
    /// The value that the caller gets. `None`: it has seen that there is none.
    type Ret = Option<String>;

    fn invoke(&mut self, own: &Self::Op) -> Self::Ret {
        if self.0.is_none() {
            self.0.clone_from(own);
        }
        self.0.clone()
    }

    fn is_valid_step(&mut self, own: &Self::Op, seen: &Self::Ret) -> bool {
        match seen {
            None => self.0.is_none(),
            Some(_) => self.invoke(own) == *seen,
        }
    }
}

/// Something that took from one moment to another.
#[derive(Clone, Debug)]
struct Event {
    began: Instant,
    own: Option<String>,
    /// `None` for a call of which nobody knows whether it has fixed its value, or when it will.
    seen: Option<(Instant, Option<String>)>,
}

/// Whether there is an order of all calls and looks that explains what each has seen.
pub(crate) fn is_linearizable(history: &History) -> bool {
    let calls = history.calls.iter().map(|call| event(history, call));
    let mut events: Vec<Event> = calls
        .flatten()
        .chain(history.looks.iter().map(look))
        .collect();
    events.extend(history.resolution.as_ref().map(|resolution| Event {
        began: resolution.began,
        own: Some(resolution.value.clone()),
        seen: Some((resolution.ended, Some(resolution.value.clone()))),
    }));
    has_order(&telling(events))
}

/// What a call is to the register, or `None` if it says nothing of it.
fn event(history: &History, call: &Call) -> Option<Event> {
    let mut effects = history.of(What::Effect);
    let own = effects.find(|effect| effect.call == call.number);
    let own = own.map(|effect| effect.execution.clone());
    let event = |own, seen| Event {
        began: call.began,
        own,
        seen,
    };
    let Some((at, answer)) = &call.answer else {
        return own.map(|own| event(Some(own), None));
    };
    match answer {
        // What a late owner was refused, and what an error discards, is never seen again.
        Answer::Declined | Answer::InDoubt | Answer::LeaseLost(_) | Answer::RolledBack(_) => {
            Some(event(None, Some((*at, None))))
        }
        Answer::InProgress | Answer::Store(_) => None,
        answer => match answer.value() {
            Some(value) => Some(event(own, Some((*at, Some(value.to_owned()))))),
            // It may be recorded later.
            None => own.map(|own| event(Some(own), None)),
        },
    }
}

fn look(look: &Look) -> Event {
    let record = look.record.as_ref();
    let finished = record.filter(|record| record.state.is_finished());
    let value = finished.map(|record| value_of(record).unwrap_or_default());
    Event {
        began: look.began,
        own: None,
        seen: Some((look.ended, value)),
    }
}

/// Leaves out what others say more strictly, because the search takes long where there is no order.
///
/// Of those that have seen a value, the one that was done first says all. Of those that have seen
/// none, it is the one that began last.
fn telling(events: Vec<Event>) -> Vec<Event> {
    let mut kept: Vec<Event> = Vec::new();
    for event in events {
        let same = |other: &&mut Event| match (&event.seen, &other.seen) {
            (Some((_, seen)), Some((_, other_seen))) => {
                event.own.is_none() && other.own.is_none() && seen == other_seen
            }
            _ => false,
        };
        match kept.iter_mut().find(same) {
            None => kept.push(event),
            Some(other) if is_stricter(&event, other) => *other = event,
            Some(_) => {}
        }
    }
    kept
}

fn is_stricter(event: &Event, other: &Event) -> bool {
    match (&event.seen, &other.seen) {
        (Some((at, Some(_))), Some((other_at, Some(_)))) => at < other_at,
        _ => event.began > other.began,
    }
}

fn has_order(events: &[Event]) -> bool {
    let begins = events
        .iter()
        .enumerate()
        .map(|(id, event)| (event.began, None, id));
    let ends = events.iter().enumerate().filter_map(|(id, event)| {
        let (at, seen) = event.seen.clone()?;
        Some((at, Some(seen), id))
    });
    let mut moments: Vec<_> = begins.chain(ends).collect();
    // What begins when something else ends may have come before it.
    moments.sort_by_key(|(at, seen, _)| (*at, seen.is_some()));
    let mut tester = LinearizabilityTester::new(Once::default());
    for (_, seen, id) in moments {
        let taken = match seen {
            None => tester.on_invoke(id, events[id].own.clone()).is_ok(),
            Some(seen) => tester.on_return(id, seen).is_ok(),
        };
        if !taken {
            return false;
        }
    }
    tester.is_consistent()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    type Seen<'a> = Option<(u64, Option<&'a str>)>;

    fn event(start: Instant, began: u64, own: Option<&str>, seen: Seen<'_>) -> Event {
        let at = |millis| start + Duration::from_millis(millis);
        Event {
            began: at(began),
            own: own.map(str::to_owned),
            seen: seen.map(|(ended, value)| (at(ended), value.map(str::to_owned))),
        }
    }

    fn check(events: &[(u64, Option<&str>, Seen<'_>)]) -> bool {
        let start = Instant::now();
        let events = events.iter();
        let events: Vec<_> = events
            .map(|(began, own, seen)| event(start, *began, *own, *seen))
            .collect();
        let all = has_order(&events);
        assert_eq!(
            has_order(&telling(events)),
            all,
            "nothing that tells is left out"
        );
        all
    }

    #[test]
    fn the_first_call_fixes_the_value() {
        assert!(check(&[
            (0, Some("a"), Some((10, Some("a")))),
            (20, None, Some((30, Some("a")))),
            (40, None, Some((50, Some("a")))),
        ]));
    }

    #[test]
    fn nobody_returns_another_value() {
        assert!(!check(&[
            (0, Some("a"), Some((10, Some("a")))),
            (20, Some("b"), Some((30, Some("b")))),
        ]));
        assert!(!check(&[
            (0, Some("a"), Some((30, Some("a")))),
            (20, Some("b"), Some((30, Some("b")))),
        ]));
    }

    #[test]
    fn a_call_without_an_answer_may_have_fixed_it() {
        assert!(check(&[
            (0, Some("a"), None),
            (20, None, Some((30, Some("a")))),
        ]));
        assert!(!check(&[
            (0, Some("a"), None),
            (20, None, Some((30, Some("b")))),
        ]));
        assert!(!check(&[
            (0, Some("a"), None),
            (20, None, Some((30, Some("a")))),
            (40, Some("b"), Some((50, Some("b")))),
        ]));
    }

    #[test]
    fn what_was_told_is_seen_by_all_who_come_later() {
        assert!(!check(&[
            (0, Some("a"), Some((10, Some("a")))),
            (20, None, Some((30, None))),
        ]));
        assert!(check(&[
            (0, Some("a"), Some((10, Some("a")))),
            (5, None, Some((30, None))),
        ]));
    }

    #[test]
    fn a_value_that_nobody_had_has_no_order() {
        assert!(!check(&[(0, None, Some((10, Some("a"))))]));
    }

    #[test]
    fn of_many_that_have_seen_the_same_one_is_kept() {
        let start = Instant::now();
        let many = (0..3).map(|began| event(start, began, None, Some((9, Some("a")))));
        assert_eq!(telling(many.collect()).len(), 1);
    }
}
