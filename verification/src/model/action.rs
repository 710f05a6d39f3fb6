//! What can happen next.

use super::bounds::Bounds;
use super::state::{Answer, Body, Caller, Phase, State, Wants};
use super::store;
use super::turn::Turn;
use super::variant::Variant;

/// What happens next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Action {
    /// A caller does something.
    Caller(u8, Deed),
    /// A message reaches the store; a second copy of it goes on if it is sent twice.
    Deliver {
        /// Which one.
        message: usize,
        /// Whether it will be delivered again.
        twice: bool,
    },
    /// The store loses the record.
    Lose,
    /// Time goes on.
    Tick,
}

/// What a caller does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Deed {
    Act,
    Begin,
    Call,
    Cancel,
    ClaimAgain,
    Crash,
    Fail,
    GiveUp,
    Hear,
    Panic,
    Renew,
    Retry,
    Return,
    RunStep,
}

impl Deed {
    const fn is_misfortune(self) -> bool {
        matches!(
            self,
            Self::Cancel | Self::Crash | Self::Fail | Self::GiveUp | Self::Panic | Self::Retry
        )
    }
}

/// Everything that can happen in `state`.
pub(super) fn possible(bounds: &Bounds, state: &State, actions: &mut Vec<Action>) {
    let has_misfortunes = state.misfortunes > 0;
    for message in 0..state.messages.len() {
        actions.push(Action::Deliver {
            message,
            twice: false,
        });
        if has_misfortunes {
            actions.push(Action::Deliver {
                message,
                twice: true,
            });
        }
    }
    for (of, caller) in (0..).zip(&state.callers) {
        let mut add = |deed: Deed| {
            if has_misfortunes || !deed.is_misfortune() {
                actions.push(Action::Caller(of, deed));
            }
        };
        progress(state, caller, of, &mut add);
        accidents(caller, &mut add);
    }
    if has_misfortunes && bounds.loses_records && state.record.is_some() {
        actions.push(Action::Lose);
    }
    if state.now < bounds.ticks {
        actions.push(Action::Tick);
    }
}

/// How a call goes on.
fn progress(state: &State, caller: &Caller, of: u8, add: &mut impl FnMut(Deed)) {
    if caller.inbox.is_some() {
        add(Deed::Hear);
    }
    match caller.phase {
        // Callers are alike, so they may as well begin in order.
        Phase::Idle if of == 0 || state.caller(of - 1).phase != Phase::Idle => add(Deed::Call),
        Phase::Waiting(_) => add(Deed::ClaimAgain),
        Phase::Unrun => add(Deed::Begin),
        Phase::Running(body) => {
            add(match body {
                Body::Began => Deed::RunStep,
                Body::Stepped => Deed::Act,
                Body::Acted => Deed::Return,
            });
            if state.now > caller.sent && !store::has_renewal_of(state, of) {
                add(Deed::Renew);
            }
        }
        Phase::Asking(_)
        | Phase::Completing
        | Phase::Ended(_)
        | Phase::Idle
        | Phase::Recording
        | Phase::Renewing
        | Phase::Settling => {}
    }
}

/// What can happen to a call.
fn accidents(caller: &Caller, add: &mut impl FnMut(Deed)) {
    if !caller.is_active() {
        return;
    }
    add(Deed::Crash);
    match caller.phase {
        // Nobody is there to go away; or it is the same as a crash, since the store is told nothing.
        Phase::Asking(Wants::Nothing) | Phase::Completing | Phase::Settling | Phase::Waiting(_) => {
        }
        _ => add(Deed::Cancel),
    }
    if caller.is_in_body() {
        add(Deed::Fail);
        add(Deed::Panic);
    }
    if caller.is_waiting_for_the_store() {
        add(Deed::GiveUp);
        // Neither the renewal before the body nor a verdict is sent twice.
        if !matches!(caller.phase, Phase::Renewing | Phase::Settling) {
            add(Deed::Retry);
        }
    }
}

/// What becomes of `state` when `action` happens.
pub(super) fn take(bounds: &Bounds, variant: Option<Variant>, state: &mut State, action: Action) {
    let turn = |state, of| Turn {
        bounds,
        variant,
        state,
        of,
    };
    match action {
        Action::Deliver { message, twice } => {
            state.misfortunes -= u8::from(twice);
            let Some(of) = store::deliver(variant, state, message, twice) else {
                return;
            };
            if state.caller(of).looks_at_once() {
                turn(state, of).hear();
            }
        }
        Action::Lose => {
            state.misfortunes -= 1;
            store::lose(state);
        }
        Action::Tick => state.now += 1,
        Action::Caller(of, deed) => {
            state.misfortunes -= u8::from(deed.is_misfortune());
            act(turn(state, of), deed);
        }
    }
}

fn act(mut turn: Turn<'_>, deed: Deed) {
    match deed {
        Deed::Act => turn.act(),
        Deed::Begin => turn.begin(),
        Deed::Call => turn.ask(Wants::Run),
        Deed::Cancel => turn.cancel(),
        Deed::ClaimAgain => {
            if let Phase::Waiting(wants) = turn.state.caller(turn.of).phase {
                turn.ask(wants);
            }
        }
        Deed::Crash => turn.end(Answer::None),
        Deed::Fail => turn.fail(),
        Deed::GiveUp => turn.give_up(),
        Deed::Hear => turn.hear(),
        Deed::Panic => turn.panic(),
        Deed::Renew => turn.keep_lease(),
        Deed::Retry => turn.retry(),
        Deed::Return => turn.complete(),
        Deed::RunStep => turn.step(),
    }
}
