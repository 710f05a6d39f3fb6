//! An owner that is held until its lease is over: it comes back late, and does not know it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use crate::case::Case;
use crate::log::{Entry, What};
use crate::message::{Answer, Order, Point};
use crate::process::{Heard, Worker};
use crate::random::Random;
use crate::report::{LATE, Report};
use crate::setup::{Mode, Setup, StoreKind};
use crate::worker::Settings;
use crate::world::{Options, World, in_lanes};

/// On a file, the first renewal is to come after the owner was held: whoever is stopped in the
/// middle of a write holds up all the others.
const LEASES: [Duration; 2] = [Duration::from_millis(150), Duration::from_millis(450)];
/// How long a body takes at most on either side of its effect.
const BODY: Duration = Duration::from_millis(10);
/// When a rival that has not been answered is taken to be held up by the stopped process itself.
const HELD_UP: Duration = Duration::from_secs(2);

/// How an owner is held.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Hold {
    /// Its only thread has something else to do.
    Block,
    /// Its process is stopped.
    Stop,
}

impl Hold {
    const fn kind(self) -> &'static str {
        match self {
            Self::Block => "blocked",
            Self::Stop => "stop",
        }
    }

    /// Where it can happen, by weight.
    const fn places(self, store: StoreKind) -> &'static [(u64, Option<Point>)] {
        match (self, store) {
            (Self::Stop, StoreKind::Postgres | StoreKind::Redis) => ANYWHERE,
            // A stopped process that holds the lock on the file would hold up all the others. And it
            // is the body that blocks.
            (Self::Stop, StoreKind::Memory | StoreKind::Sqlite) | (Self::Block, _) => {
                ANYWHERE.split_at(1).1
            }
        }
    }
}

/// When the held owner goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Return {
    /// When the rival has its answer.
    AfterAnswer,
    /// When the rival has failed.
    AfterFailure,
    /// When an operator has settled the doubt.
    AfterResolution,
    /// While the rival's body runs.
    DuringRun,
}

/// Where the owner is held, by weight: at a hook, or at a random moment.
const ANYWHERE: &[(u64, Option<Point>)] = &[
    (2, None),
    (3, Some(Point::BeforeEffect)),
    (5, Some(Point::AfterEffect)),
];

/// A place for one round after the other.
#[derive(Debug)]
struct Lane {
    world: Arc<World>,
    hold: Hold,
    owner: Worker,
    rival: Worker,
}

const COUNTS: &[&str] = &[
    "rounds",
    "held anywhere",
    "held before the effect",
    "held between effect and record",
    "takeovers",
    LATE,
    "owners that finished in time",
    "late owners: got the winner's value",
    "late owners: lease lost",
    "late owners: settled their doubt",
    "late owners: got the operator's value",
    "keys with one effect",
    "keys with two effects",
    "stuck keys",
];

/// Holds an owner in each round, and lets others call with its key.
pub(crate) async fn run(setup: Setup, hold: Hold) -> Result<Report> {
    let (lanes, lease) = match setup.store {
        StoreKind::Postgres | StoreKind::Redis => (8, LEASES[0]),
        StoreKind::Memory | StoreKind::Sqlite => (4, LEASES[1]),
    };
    let settings = Settings::new(&setup, lease, Duration::from_secs(10));
    let world = World::start(setup, Options::new(hold.kind(), settings, COUNTS)).await?;
    world.set_workers(2 * lanes);
    in_lanes(&world, lanes, |world| lane(world, hold)).await?;
    let mut report = world.end().await?;
    match world.setup.mode {
        Mode::InDoubt => {
            report.expect("late owners: settled their doubt", 20, "rounds");
            report.expect("late owners: got the operator's value", 10, "rounds");
        }
        Mode::Rerun => {
            report.expect("takeovers", 70, "rounds");
            report.expect(LATE, 70, "rounds");
            report.expect("late owners: lease lost", 5, "rounds");
        }
    }
    Ok(report)
}

async fn lane(world: Arc<World>, hold: Hold) -> Result<()> {
    let (owner, rival) = (world.hire().await?, world.hire().await?);
    let mut lane = Lane {
        world: Arc::clone(&world),
        hold,
        owner,
        rival,
    };
    while let Some(number) = world.next_round() {
        let round = lane.round(number).await;
        world.ended(number, round)?;
    }
    Ok(())
}

impl Lane {
    async fn round(&mut self, number: u64) -> Result<()> {
        let world = Arc::clone(&self.world);
        let mut random = world.random(number);
        let mut case = world.case(number, random.percent(50))?;
        let plan = draw(&world, &mut random);
        let mut order = case.order(&world, &mut random, BODY);
        order.hook = random.choose(self.hold.places(world.setup.store));
        order.blocks = self.hold == Hold::Block;
        if order.hook.is_some() {
            case.reach(&world, &mut self.owner, &mut order).await?;
        } else {
            self.owner.call(&order).await?;
            sleep(random.up_to(BODY + BODY)).await;
        }
        if self.hold == Hold::Stop {
            self.owner.stop().await?;
        }
        world.add("rounds", 1);
        world.add(
            match order.hook {
                None => "held anywhere",
                Some(Point::AfterEffect) => "held between effect and record",
                Some(Point::BeforeEffect) => "held before the effect",
            },
            1,
        );
        self.rival(&world, &mut case, &mut random, plan, &order)
            .await?;

        let late = case.answer(&mut self.owner, &order).await?;
        let own = case.collect(&mut self.owner)?;
        // And once more, when all is settled.
        let last = case.order(&world, &mut random, BODY / 2);
        case.call_again(&world, &mut self.rival, &last).await?;
        case.collect(&mut self.rival)?;
        world.look(&mut case).await?;
        count(
            &world,
            &mut case,
            late.as_ref().map(|(_, answer)| answer),
            &own,
        );
        world.close(case).await
    }

    /// Has a rival take the key over, and lets the owner go on at its time.
    async fn rival(
        &mut self,
        world: &World,
        case: &mut Case,
        random: &mut Random,
        plan: Return,
        owners: &Order,
    ) -> Result<()> {
        let held = Instant::now();
        let mut order = case.order(world, random, BODY);
        let runs = plan == Return::DuringRun;
        order.hook = runs.then_some(Point::BeforeEffect);
        let fails = plan == Return::AfterFailure;
        order.fails = fails.then_some(Point::BeforeEffect);
        self.rival.call(&order).await?;
        let heard = self.rival.hear(order.call, held + HELD_UP).await;
        if matches!(heard, Heard::Nothing) {
            // A stopped process can hold the lock on a file. Nobody gets past that.
            world.add("rivals that the owner held up", 1);
            world.witness.note(held, Instant::now());
        }
        if let Heard::Answer(at, answer) = &heard {
            case.history.answer(order.call, *at, answer.clone());
            let waited = held.elapsed().saturating_sub(order.before + order.after);
            world.raise("slowest rival, ms", waited);
            let is_doubt = *answer != Answer::Declined && case.is_doubt(world, Some(answer));
            if is_doubt && plan == Return::AfterResolution {
                world.resolve(case, Some("by an operator")).await?;
            }
        }
        world.look(case).await?;
        if self.hold == Hold::Stop {
            self.owner.resume()?;
        }
        self.owner.go(owners.call).await?;
        if matches!(heard, Heard::At) {
            // Sometimes the owner is done by then, sometimes it has to wait.
            sleep(random.up_to(Duration::from_millis(40))).await;
        }
        self.rival.go(order.call).await?;
        if matches!(heard, Heard::At | Heard::Nothing) {
            case.answer(&mut self.rival, &order).await?;
        }
        Ok(())
    }
}

fn draw(world: &World, random: &mut Random) -> Return {
    random.choose(match world.setup.mode {
        Mode::InDoubt => &[(2, Return::AfterAnswer), (1, Return::AfterResolution)],
        Mode::Rerun => &[
            (2, Return::AfterAnswer),
            (1, Return::AfterFailure),
            (2, Return::DuringRun),
        ],
    })
}

/// Counts what the late owner got, and accuses what it may not get.
fn count(world: &World, case: &mut Case, late: Option<&Answer>, own: &[Entry]) {
    case.count(world);
    let refused = case.history.record().map_or(0, |record| record.late);
    world.add(LATE, refused.into());
    let recorded = case.history.recorded();
    let executed = own.iter().find(|entry| entry.what == What::Effect);
    let is_own = executed.is_some_and(|entry| recorded.as_ref() == Some(&entry.execution));
    if executed.is_some() && !is_own && refused == 0 {
        case.accuse("C3", "the completion of a late owner was not counted");
    }
    let got = match late {
        Some(Answer::Value(..)) if is_own && !case.history.was_in_doubt() => {
            "owners that finished in time"
        }
        Some(Answer::Value(..)) if is_own => "late owners: settled their doubt",
        Some(Answer::Value(..))
            if recorded.is_some() && case.history.resolved() == recorded.as_deref() =>
        {
            "late owners: got the operator's value"
        }
        Some(Answer::Value(..)) => "late owners: got the winner's value",
        Some(Answer::LeaseLost(_)) => "late owners: lease lost",
        Some(Answer::InProgress | Answer::Store(_)) if own.is_empty() => {
            "late owners: too late to begin"
        }
        answer => {
            case.accuse("C8", format!("a late owner got {answer:?}"));
            return;
        }
    };
    world.add(got, 1);
}
