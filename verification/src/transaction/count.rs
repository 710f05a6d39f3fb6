//! What a round has hit, and what came of it.

use crate::case::Case;
use crate::log::{Entry, What};
use crate::message::Answer;
use crate::report::Report;
use crate::setup::StoreKind;
use crate::world::World;

const KILLS: &str = "kills";
const OPEN: &str = "killed in an open transaction";
const AFTER_WRITE: &str = "of these after the write";
const WAITED_FOR: &str = "of these while others waited";
const COMMITTED: &str = "killed after the commit";
const UNTOLD: &str = "of these before anybody was told";
const STOPS: &str = "stops";
const STOPPED: &str = "stopped in an open transaction";
const GAVE_UP: &str = "rivals that gave up";
const ROLLED_BACK: &str = "stopped owners: rolled back";
/// How often a stopped process kept even the harness from reading.
pub(super) const HELD_UP: &str = "looks that a stopped process held up";

pub(super) const COUNTS: &[&str] = &[
    "rounds",
    KILLS,
    "killed before the body",
    OPEN,
    AFTER_WRITE,
    WAITED_FOR,
    "killed about the rollback of an error",
    COMMITTED,
    UNTOLD,
    STOPS,
    STOPPED,
    GAVE_UP,
    "stopped owners: committed",
    ROLLED_BACK,
    "stopped owners: got another's value",
    "takeovers",
    "keys with one row",
    "stuck keys",
];

/// From how many on a share can be told from chance.
const MANY: u64 = 60;
/// From how many on even a rare thing has happened.
const VERY_MANY: u64 = 1_000;

/// What the owner had come to when it was hit.
#[derive(Debug)]
pub(super) enum Hit {
    Kill {
        written: Vec<Entry>,
        /// Whether its answer was heard before.
        answered: bool,
        /// Whether its body was to end with an error.
        fails: bool,
        /// Whether others had called by then.
        early: bool,
    },
    Stop {
        written: Vec<Entry>,
        /// Whether it had begun, and not committed.
        is_open: bool,
        /// What it got in the end.
        late: Option<Answer>,
        rivals: Vec<Answer>,
    },
}

impl Hit {
    /// Counts what was hit and what came of the key, and accuses what nobody may get.
    pub(super) fn count(self, world: &World, case: &mut Case) {
        let recorded = case.history.recorded();
        let (Self::Kill { written, .. } | Self::Stop { written, .. }) = &self;
        let owns = written
            .iter()
            .any(|entry| Some(&entry.execution) == recorded.as_ref());
        let wrote = written.iter().any(|entry| entry.what == What::Effect);
        let began = !written.is_empty();
        world.add("rounds", 1);
        world.add("takeovers", u64::from(began && !owns));
        let rows = case.history.rows.last().map(|look| look.after.len());
        world.add("keys with one row", u64::from(rows == Some(1)));
        match self {
            Self::Kill {
                answered,
                fails,
                early,
                ..
            } => {
                world.add(KILLS, 1);
                if !began {
                    world.add("killed before the body", 1);
                } else if owns {
                    world.add(COMMITTED, 1);
                    world.add(UNTOLD, u64::from(!answered));
                } else if fails {
                    world.add("killed about the rollback of an error", 1);
                } else {
                    world.add(OPEN, 1);
                    world.add(AFTER_WRITE, u64::from(wrote));
                    world.add(WAITED_FOR, u64::from(early));
                }
            }
            Self::Stop {
                is_open,
                late,
                rivals,
                ..
            } => {
                world.add(STOPS, 1);
                world.add(STOPPED, u64::from(is_open));
                count_stopped(world, case, late, owns);
                for rival in rivals {
                    match rival {
                        Answer::Value(..) => {}
                        Answer::InProgress | Answer::Store(_) => world.add(GAVE_UP, 1),
                        answer => case.accuse("contract", format!("a rival got {answer:?}")),
                    }
                }
            }
        }
    }
}

fn count_stopped(world: &World, case: &mut Case, late: Option<Answer>, owns: bool) {
    match late {
        None => {}
        Some(Answer::Value(..)) if owns => world.add("stopped owners: committed", 1),
        Some(Answer::Value(..)) => world.add("stopped owners: got another's value", 1),
        Some(Answer::RolledBack(_)) => world.add(ROLLED_BACK, 1),
        Some(answer) => case.accuse("contract", format!("a stopped owner got {answer:?}")),
    }
}

/// Calls a run tame that has hit too few transactions where it hurts.
pub(super) fn expect(report: &mut Report, store: StoreKind) {
    report.expect(OPEN, 25, KILLS);
    report.expect(AFTER_WRITE, 12, KILLS);
    report.expect(STOPPED, 50, STOPS);
    report.limit(HELD_UP, 5, STOPS);
    if report.count(KILLS) >= MANY {
        report.expect(WAITED_FOR, 10, KILLS);
    }
    // In a file, little time passes between the commit and the answer.
    if store == StoreKind::Postgres && report.count(KILLS) >= MANY {
        report.expect(UNTOLD, 2, KILLS);
    } else if report.count(KILLS) >= VERY_MANY {
        report.expect(UNTOLD, 1, COMMITTED);
    }
    if report.count(STOPS) >= MANY {
        report.expect(GAVE_UP, 20, STOPS);
        if store == StoreKind::Postgres {
            report.expect(ROLLED_BACK, 10, STOPS);
        }
    }
}
