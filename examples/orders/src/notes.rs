//! What a call notes about itself while it runs, in its own task.

use std::cell::Cell;

use idempotency::{Event, EventKind};

tokio::task_local! {
    /// The notes of the call that runs in this task.
    pub(crate) static NOTES: Notes;
}

#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// The order had been created by an attempt that died.
    pub(crate) found: Cell<bool>,
    /// The call waited for another attempt.
    pub(crate) waited: Cell<bool>,
}

/// Notes that the order was there already.
pub(crate) fn found() {
    // Outside of a call's task there is nobody to tell.
    _ = NOTES.try_with(|notes| notes.found.set(true));
}

/// Hears from the engine of everything it does, in the task for which it does it.
pub(crate) fn observe(event: &Event<'_>) {
    if event.kind() == EventKind::Waited {
        _ = NOTES.try_with(|notes| notes.waited.set(true));
    }
}
