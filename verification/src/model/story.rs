//! A counterexample, told step by step.

use idempotency::Record;
use idempotency::protocol::Operation;
use stateright::Path;

use super::action::{Action, Deed};
use super::state::{State, caller_of, value_in};

/// What happened on `path`, a line for each step.
pub(super) fn tell(path: Path<State, Action>) -> Vec<String> {
    let path = path.into_vec();
    let steps = path.windows(2).filter_map(|pair| {
        let [(before, action), (after, _)] = pair else {
            return None;
        };
        action.map(|action| step(before, action, after))
    });
    steps.collect()
}

fn step(before: &State, action: Action, after: &State) -> String {
    match action {
        Action::Caller(of, deed) => format!("call {of} {}", done(deed)),
        Action::Deliver { message, twice } => {
            let message = &before.messages[message];
            let copy = if twice {
                ", and a copy is on its way"
            } else {
                ""
            };
            format!(
                "the store gets {} of call {}{copy}: now {}",
                asked(&message.operation),
                message.from,
                kept(after.record.as_ref()),
            )
        }
        Action::Lose => "the store loses the record".to_owned(),
        Action::Tick => format!("tick {}", after.now),
    }
}

const fn done(deed: Deed) -> &'static str {
    match deed {
        Deed::Act => "has its effect",
        Deed::Begin => "is about to begin its body",
        Deed::Call => "claims",
        Deed::Cancel => "is cancelled",
        Deed::ClaimAgain => "claims again",
        Deed::Crash => "crashes",
        Deed::Fail => "returns an error",
        Deed::GiveUp => "has no more patience with the store",
        Deed::Hear => "hears the store's answer",
        Deed::Panic => "panics",
        Deed::Renew => "renews its lease",
        Deed::Retry => "sends its request again",
        Deed::Return => "returns its value, to be recorded",
        Deed::RunStep => "runs its step",
    }
}

const fn asked(operation: &Operation) -> &'static str {
    match operation {
        Operation::Claim(_) => "a claim",
        Operation::Complete { .. } => "a completion",
        Operation::RecordStep { .. } => "a step",
        Operation::Release { .. } => "a release",
        Operation::Renew { .. } => "a renewal",
        _ => "a request",
    }
}

fn kept(record: Option<&Record>) -> String {
    let Some(record) = record else {
        return "nothing is kept".to_owned();
    };
    let value = match value_in(&record.result) {
        Some(of) => format!(" with the value of call {of}"),
        None => String::new(),
    };
    format!(
        "{:?}{value}, call {}, attempt {}",
        record.state,
        caller_of(record.owner),
        record.attempt,
    )
}
