//! What happens in a round.

use std::time::Duration;

use super::BODY;
use crate::case::Case;
use crate::message::{Order, Point};
use crate::random::Random;
use crate::setup::StoreKind;
use crate::world::World;

/// Each round of so many is one with a stop, all others have a kill.
const STOPS: u64 = 5;
/// How long a rival waits for a transaction that does not end.
const WAIT: Duration = Duration::from_millis(500);
/// How long a server waits for a client that says nothing in a transaction, in some rounds. Longer than
/// what counts as slow, in case that the machine stands still before the client is stopped.
const IDLE: Duration = Duration::from_millis(250);
/// A stop that tries nobody's patience.
const SHORT: Duration = Duration::from_millis(100);
/// Whoever waits for a file's lock gives up after 20 s, for which a small run has no time.
const QUICK_ROUNDS: u64 = 60;

/// What is done to the owner.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    Kill(Moment),
    Stop(Return),
}

/// When the owner is killed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Moment {
    /// When it has been answered.
    AfterAnswer,
    /// At its hook, between its write and the commit.
    AfterWrite,
    /// At its hook, between the claim and its write.
    BeforeWrite,
    /// About when it claims.
    Claim,
    /// About when it commits.
    Commit,
    /// About when it rolls back, after an error.
    RollBack,
    /// While its body runs.
    Run,
}

/// When a stopped owner goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Return {
    /// When all rivals have been answered, or have given up.
    AfterAnswers,
    /// Before anybody loses patience.
    Soon(Duration),
}

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) fate: Fate,
    pub(super) order: Order,
    /// How long after the hook, or the call, the owner is hit.
    pub(super) delay: Duration,
    /// How many others call with the key at once.
    pub(super) rivals: usize,
    /// Whether they call while the owner is at it, and not when it has been hit.
    pub(super) early: bool,
    /// Whether the one who takes over is killed as well.
    pub(super) again: bool,
    /// For how long rivals wait.
    pub(super) wait: Duration,
}

impl Plan {
    pub(super) fn draw(number: u64, world: &World, case: &mut Case, random: &mut Random) -> Self {
        let order = case.order(world, random, BODY);
        let rivals = if random.percent(50) { 2 } else { 3 };
        // How long it takes to claim or to commit: in memory, on a good disk, or on another.
        let store_call = Duration::from_micros(random.choose(&[(2, 600), (1, 3_000), (1, 15_000)]));
        if number % STOPS == STOPS - 1 {
            let is_long = match world.setup.store {
                StoreKind::Sqlite => number >= QUICK_ROUNDS && random.percent(30),
                StoreKind::Memory | StoreKind::Postgres | StoreKind::Redis => random.percent(70),
            };
            Self::stop(order, rivals, is_long, store_call, random)
        } else {
            Self::kill(order, rivals, store_call, random)
        }
    }

    fn stop(
        mut order: Order,
        rivals: usize,
        is_long: bool,
        store_call: Duration,
        random: &mut Random,
    ) -> Self {
        order.hook = random.choose(&[
            (1, None),
            (2, Some(Point::BeforeEffect)),
            (4, Some(Point::AfterEffect)),
        ]);
        order.idle = random.percent(50).then_some(IDLE);
        let delay = match order.hook {
            None => random.up_to(store_call + order.before + order.after),
            Some(_) => Duration::ZERO,
        };
        let until = if is_long {
            Return::AfterAnswers
        } else {
            Return::Soon(random.up_to(SHORT))
        };
        Self {
            fate: Fate::Stop(until),
            order,
            delay,
            rivals,
            early: false,
            again: false,
            wait: WAIT,
        }
    }

    fn kill(mut order: Order, rivals: usize, store_call: Duration, random: &mut Random) -> Self {
        let moment = random.choose(&[
            (5, Moment::AfterAnswer),
            (25, Moment::AfterWrite),
            (10, Moment::BeforeWrite),
            (15, Moment::Claim),
            (25, Moment::Commit),
            (10, Moment::RollBack),
            (10, Moment::Run),
        ]);
        order.hook = match moment {
            Moment::AfterWrite | Moment::Commit | Moment::RollBack => Some(Point::AfterEffect),
            Moment::BeforeWrite => Some(Point::BeforeEffect),
            Moment::AfterAnswer | Moment::Claim | Moment::Run => None,
        };
        order.fails = (moment == Moment::RollBack).then_some(Point::AfterEffect);
        let delay = match moment {
            Moment::AfterAnswer | Moment::AfterWrite | Moment::BeforeWrite => Duration::ZERO,
            Moment::Claim => random.up_to(store_call),
            Moment::Commit | Moment::RollBack => {
                order.after = Duration::ZERO;
                random.up_to(store_call)
            }
            Moment::Run => random.up_to(store_call + order.before + order.after),
        };
        let early = random.percent(60);
        Self {
            fate: Fate::Kill(moment),
            wait: order.wait,
            order,
            delay,
            rivals,
            early,
            again: !early && random.percent(15),
        }
    }
}
