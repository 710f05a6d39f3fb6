//! The model as the checker sees it.

use idempotency::Ending;
use idempotency::protocol::{Claim, Operation, Reply, Update};
use stateright::{Model, Property};

use super::action::{Action, possible, take};
use super::bounds::Bounds;
use super::promise::Promise;
use super::state::{Answer, Body, Held, Phase, State};
use super::turn::{completion, lease, request};
use super::variant::{Variant, answer};

/// A world, and the protocol that runs in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine {
    bounds: Bounds,
    variant: Option<Variant>,
}

impl Model for Machine {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::first(&self.bounds)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        possible(&self.bounds, state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        take(&self.bounds, self.variant, &mut state, action);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = self.promises();
        properties.extend(self.sights());
        properties
    }
}

/// A promise that is kept unless the history says otherwise.
macro_rules! kept {
    ($($promise:ident),*) => {
        vec![$(Property::always(Promise::$promise.text(), |_, state: &State| {
            !state.history.broken.has(Promise::$promise)
        })),*]
    };
}

impl Machine {
    pub(super) const fn new(bounds: Bounds, variant: Option<Variant>) -> Self {
        Self { bounds, variant }
    }

    /// What must hold in every state.
    fn promises(&self) -> Vec<Property<Self>> {
        let mut promises = kept![P1, P3, P4, P5, P6, P7];
        promises.push(Property::always(Promise::P2.text(), all_get_the_same));
        promises.push(Property::always(Promise::P8.text(), can_finish));
        if self.bounds.at_most_once {
            promises.extend(kept![E1, E2]);
        }
        promises
    }

    /// What must be possible, or the model proves nothing.
    fn sights(&self) -> Vec<Property<Self>> {
        let mut sights = vec![
            Property::sometimes("an attempt takes over", takes_over),
            Property::sometimes("a late owner is refused", is_refused),
            Property::sometimes("a late grant is renewed", is_renewed_before_the_body),
            Property::sometimes("a result is replayed", is_replayed),
            Property::sometimes("a second life begins", is_reborn),
        ];
        if self.bounds.at_most_once {
            let settled = Property::sometimes("a doubt is settled by a verdict", is_settled);
            sights.push(settled);
        } else {
            // Not the effects themselves: a state does not remember them where nobody promises any.
            let doubled = "E1 fails: an effect is about to be doubled";
            sights.push(Property::sometimes(doubled, is_about_to_double));
            let stale = "E2 fails: an effect is about to be stale";
            sights.push(Property::sometimes(stale, is_about_to_be_stale));
        }
        if self.bounds.has_steps {
            let found = Property::sometimes("a later attempt finds a step", finds_step);
            sights.push(found);
        }
        if self.bounds.loses_records {
            sights.push(Property::sometimes("a lost record is healed", is_healed));
        }
        sights
    }
}

fn all_get_the_same(_: &Machine, state: &State) -> bool {
    let answers = || {
        state
            .callers
            .iter()
            .filter_map(|caller| match caller.phase {
                Phase::Ended(Answer::Value { of, life }) => Some((life, of)),
                _ => None,
            })
    };
    answers().all(|(life, of)| answers().all(|(other, value)| other != life || value == of))
}

/// Whether a call that comes after a silence of one lease gets a result, or can make one. A doubt
/// can be settled, and that is the way on.
fn can_finish(machine: &Machine, state: &State) -> bool {
    let Machine { bounds, variant } = machine;
    let mut record = state.record.clone();
    let now = state.clock().plus(lease(bounds));
    let newcomer = Operation::Claim(request(bounds, bounds.calls, 0));
    let grant = match answer(*variant, &mut record, &newcomer, now) {
        Reply::Claim(Claim::Done(_)) => return true,
        Reply::Claim(Claim::Granted(grant)) => grant,
        Reply::Claim(Claim::InDoubt(doubt)) => doubt.grant,
        _ => return false,
    };
    let completion = completion(bounds, 0);
    let result = Operation::Complete { grant, completion };
    answer(*variant, &mut record, &result, now) == Reply::Update(Update::Applied)
}

fn takes_over(_: &Machine, state: &State) -> bool {
    let record = state.record.as_ref();
    record.is_some_and(|record| record.attempt > 1)
}

fn is_refused(_: &Machine, state: &State) -> bool {
    let record = state.record.as_ref();
    record.is_some_and(|record| record.late > 0)
}

fn is_healed(_: &Machine, state: &State) -> bool {
    let record = state.record.as_ref();
    record.is_some_and(|record| record.previous == Some(Ending::Healed))
}

fn is_renewed_before_the_body(_: &Machine, state: &State) -> bool {
    let mut callers = state.callers.iter();
    callers.any(|caller| caller.phase == Phase::Renewing)
}

fn is_settled(_: &Machine, state: &State) -> bool {
    let mut callers = state.callers.iter();
    callers.any(|caller| caller.phase == Phase::Settling)
}

fn is_replayed(_: &Machine, state: &State) -> bool {
    (0..).zip(&state.callers).any(|(own, caller): (u8, _)| {
        matches!(caller.phase, Phase::Ended(Answer::Value { of, .. }) if of != own)
    })
}

fn finds_step(_: &Machine, state: &State) -> bool {
    state.callers.iter().any(|caller| {
        let held = caller.held.as_ref();
        caller.phase == Phase::Running(Body::Stepped)
            && held.is_some_and(|held| !held.grant.steps.is_empty())
    })
}

fn is_reborn(_: &Machine, state: &State) -> bool {
    state.history.life.0 > 1
}

/// A body is about to have its effect in a life that has a result, and so an effect.
fn is_about_to_double(_: &Machine, state: &State) -> bool {
    about_to_act(state).any(|_| state.history.completions > 0)
}

/// A body is about to have its effect after a later attempt was granted.
fn is_about_to_be_stale(_: &Machine, state: &State) -> bool {
    about_to_act(state).any(|held| held.grant.fence < state.history.life_fence)
}

/// What the bodies of this life hold whose next step is their effect.
fn about_to_act(state: &State) -> impl Iterator<Item = &Held> {
    let bodies = state.callers.iter();
    let bodies = bodies.filter(|caller| caller.phase == Phase::Running(Body::Stepped));
    let held = bodies.filter_map(|caller| caller.held.as_ref());
    held.filter(|held| held.life == state.history.life)
}
