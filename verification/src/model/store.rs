//! The store's side: the protocol's own function, a message at a time.

use std::sync::Arc;

use idempotency::protocol::{Claim, Operation, Reply, Update};

use super::history::Before;
use super::state::{Heard, Life, State, caller_of};
use super::variant::{Variant, answer, forgets};

/// Lets the store apply a message, and answer it if its sender still waits.
///
/// Returns whose inbox it came to.
pub(super) fn deliver(
    variant: Option<Variant>,
    state: &mut State,
    index: usize,
    twice: bool,
) -> Option<u8> {
    let message = if twice {
        let sent = &mut state.messages[index];
        let message = sent.clone();
        // The first answer is the one that is heard.
        sent.is_awaited = false;
        message
    } else {
        state.messages.swap_remove(index)
    };
    let now = state.clock();
    let before = Before::of(state.record.as_ref(), now);
    let reply = answer(variant, &mut state.record, &message.operation, now);
    let after = state.record.as_ref();
    let life = state.history.note(&message, &reply, before, after, now);
    if let Reply::Claim(Claim::Granted(_)) = reply {
        state.grants += 1;
    }
    if let (Operation::Renew { grant, .. }, Reply::Update(Update::Healed)) =
        (&*message.operation, &reply)
    {
        adopt(state, caller_of(grant.owner), life);
    }
    if forgets(variant, &message.operation, &reply) {
        state.record = None;
    }
    message.is_awaited.then(|| {
        let reply = Arc::new(reply);
        state.caller_mut(message.from).inbox = Some(Heard { reply, life });
        message.from
    })
}

/// A grant that belonged to no life is healed into one.
fn adopt(state: &mut State, caller: u8, life: Life) {
    if let Some(held) = &mut state.caller_mut(caller).held {
        held.life = held.life.or(life);
    }
}

/// The store loses the record: a failover, an eviction, a restored backup.
pub(super) fn lose(state: &mut State) {
    state.record = None;
    state.history.lose(state.clock());
    for caller in &mut state.callers {
        if let Some(held) = &mut caller.held {
            held.life = Life::NONE;
        }
        if let Some(heard) = &mut caller.inbox
            && matches!(*heard.reply, Reply::Claim(Claim::Granted(_)))
        {
            heard.life = Life::NONE;
        }
    }
    for message in &mut state.messages {
        message.life = Life::NONE;
    }
}

/// Whether a renewal of this caller is on its way.
pub(super) fn has_renewal_of(state: &State, caller: u8) -> bool {
    state.messages.iter().any(|message| {
        message.from == caller && matches!(*message.operation, Operation::Renew { .. })
    })
}
