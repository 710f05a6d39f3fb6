//! `kill -9` of an owner, at any moment of its call.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use idempotency::Ending;
use tokio::time::Instant;

use crate::case::Case;
use crate::log::{Entry, What};
use crate::message::{Order, Point};
use crate::process::{Heard, Worker};
use crate::random::Random;
use crate::report::Report;
use crate::setup::{Mode, Setup, StoreKind};
use crate::worker::Settings;
use crate::world::{Options, World, in_lanes, pass};

const LEASE: Duration = Duration::from_millis(200);
/// How long a body takes at most on either side of its effect.
const BODY: Duration = Duration::from_millis(15);
/// A body that needs its lease renewed.
const LONG_BODY: Duration = Duration::from_millis(500);
/// How long it takes at most until a body is at its hook.
const HOOK: Duration = Duration::from_secs(10);

/// When the owner is killed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Moment {
    /// At its hook, between effect and record.
    AfterEffect,
    /// At its hook, before the effect.
    BeforeEffect,
    /// About when it claims.
    Claim,
    /// About when its result is recorded.
    Completion,
    /// About when its error is told.
    Release,
    /// While its body runs.
    Run,
}

/// What happens in a round.
#[derive(Clone, Debug)]
struct Plan {
    moment: Moment,
    /// How long after the hook, or the call, the owner is killed.
    delay: Duration,
    /// Whether it is killed after its answer instead.
    answers: bool,
    order: Order,
    /// Whether the one who takes over is killed as well.
    again: bool,
    retries: usize,
}

impl Plan {
    fn draw(world: &World, case: &mut Case, random: &mut Random) -> Self {
        let moment = random.choose(&[
            (30, Moment::AfterEffect),
            (10, Moment::BeforeEffect),
            (15, Moment::Claim),
            (20, Moment::Completion),
            (10, Moment::Release),
            (15, Moment::Run),
        ]);
        let body = if random.percent(10) { LONG_BODY } else { BODY };
        let mut order = case.order(world, random, body);
        (order.hook, order.fails) = match moment {
            Moment::AfterEffect | Moment::Completion => (Some(Point::AfterEffect), None),
            Moment::BeforeEffect => (Some(Point::BeforeEffect), None),
            Moment::Claim | Moment::Run => (None, None),
            // At most one effect is promised for attempts that fall silent, not for those that fail.
            Moment::Release if world.setup.mode == Mode::InDoubt || random.percent(50) => {
                (Some(Point::BeforeEffect), Some(Point::BeforeEffect))
            }
            Moment::Release => (Some(Point::AfterEffect), Some(Point::AfterEffect)),
        };
        // How long it takes to claim, to complete or to release, in the usual case.
        let store_call = match world.setup.store {
            StoreKind::Redis => Duration::from_millis(3),
            // The first time, with a connection of its own for each.
            StoreKind::Postgres => Duration::from_millis(20),
            StoreKind::Memory | StoreKind::Sqlite => Duration::from_millis(40),
        };
        let delay = match moment {
            Moment::AfterEffect | Moment::BeforeEffect => Duration::ZERO,
            Moment::Claim => random.up_to(store_call),
            Moment::Completion | Moment::Release => {
                order.after = Duration::ZERO;
                random.up_to(store_call)
            }
            Moment::Run => random.up_to(order.before + order.after),
        };
        let retries = if random.percent(30) { 2 } else { 1 };
        let answers = moment == Moment::Release && random.percent(50);
        Self {
            moment,
            delay,
            answers,
            order,
            // In doubt, nobody takes over.
            again: world.setup.mode == Mode::Rerun && random.percent(10),
            retries,
        }
    }
}

/// A place for one round after the other.
#[derive(Debug)]
struct Lane {
    world: Arc<World>,
    /// Started before it is needed.
    next_owner: Option<tokio::task::JoinHandle<Result<Worker>>>,
    retriers: [Worker; 2],
}

/// Kills an owner in each round, and lets others call again with its key.
///
/// # Errors
///
/// If the harness itself fails. A broken promise is in the report.
pub async fn run(setup: Setup) -> Result<Report> {
    let settings = Settings::new(&setup, LEASE, Duration::from_secs(10));
    let lanes = match setup.store {
        StoreKind::Redis => 8,
        StoreKind::Memory | StoreKind::Postgres | StoreKind::Sqlite => 6,
    };
    let world = World::start(setup, Options::new("kill", settings, COUNTS)).await?;
    world.set_workers(3 * lanes);
    in_lanes(&world, lanes, lane).await?;
    let mut report = world.end().await?;
    report.expect(RUNNING, 40, "rounds");
    report.expect(BETWEEN, 20, "rounds");
    match world.setup.mode {
        Mode::InDoubt => report.expect("doubts settled", 25, "rounds"),
        Mode::Rerun => report.expect("takeovers", 40, "rounds"),
    }
    Ok(report)
}

const RUNNING: &str = "killed while running";
const BETWEEN: &str = "of these between effect and record";
const COUNTS: &[&str] = &[
    "rounds",
    "killed before the body",
    RUNNING,
    BETWEEN,
    "killed after the record, or the error",
    "takeovers",
    "doubts settled",
    "keys with no effect",
    "keys with one effect",
    "keys with two effects",
    "stuck keys",
];

async fn lane(world: Arc<World>) -> Result<()> {
    let retriers = [world.hire().await?, world.hire().await?];
    let mut lane = Lane {
        world: Arc::clone(&world),
        next_owner: None,
        retriers,
    };
    while let Some(number) = world.next_round() {
        let round = lane.round(number).await;
        world.ended(number, round)?;
    }
    Ok(())
}

impl Lane {
    /// A fresh worker, and has another one started for the next round.
    async fn owner(&mut self) -> Result<Worker> {
        let hire = || {
            let world = Arc::clone(&self.world);
            tokio::spawn(async move { world.hire().await })
        };
        let owner = self.next_owner.take().unwrap_or_else(hire);
        self.next_owner = Some(hire());
        owner.await?
    }

    async fn round(&mut self, number: u64) -> Result<()> {
        let world = Arc::clone(&self.world);
        let mut random = world.random(number);
        let mut case = world.case(number, random.percent(50))?;
        let mut plan = Plan::draw(&world, &mut case, &mut random);
        let mut owner = self.owner().await?;
        reach(&world, &mut case, &mut owner, &mut plan).await?;
        if plan.answers {
            case.answer(&mut owner, &plan.order).await?;
        }
        owner.kill().await?;
        let mut killed = Instant::now();
        if !plan.answers {
            // It may have been answered before its end.
            case.answer(&mut owner, &plan.order).await?;
        }
        if plan.again {
            self.kill_again(&mut case, &mut random).await?;
            killed = Instant::now();
        }

        let mut doubt = false;
        let mut orders = Vec::new();
        for retrier in &mut self.retriers[..plan.retries] {
            let order = case.order(&world, &mut random, BODY / 3);
            retrier.call(&order).await?;
            orders.push(order);
        }
        for (retrier, order) in self.retriers.iter_mut().zip(&orders) {
            let answer = case.answer_in_time(&world, retrier, order, killed).await?;
            doubt |= case.is_doubt(&world, answer.as_ref());
        }
        let written = case.collect(&mut owner)?;
        let [first, second] = &mut self.retriers;
        if doubt {
            let order = case.order(&world, &mut random, BODY / 3);
            case.settle(&world, first, &order).await?;
        }
        // And once more, when all is settled.
        let order = case.order(&world, &mut random, BODY / 3);
        case.call_again(&world, second, &order).await?;
        for retrier in &mut self.retriers {
            case.collect(retrier)?;
        }
        count(&world, &case, &written, doubt);
        world.close(case).await
    }

    /// Kills the one who takes over, too, between effect and record.
    async fn kill_again(&mut self, case: &mut Case, random: &mut Random) -> Result<()> {
        let mut owner = self.owner().await?;
        let mut order = case.order(&self.world, random, BODY);
        order.hook = Some(Point::AfterEffect);
        owner.call(&order).await?;
        if let Heard::Answer(at, answer) = owner.hear(order.call, Instant::now() + HOOK).await {
            // The first owner had got as far as to record its result.
            case.history.answer(order.call, at, answer);
        }
        owner.kill().await?;
        case.collect(&mut owner)?;
        Ok(())
    }
}

/// Lets the owner begin, and returns when it is to be killed.
async fn reach(world: &World, case: &mut Case, owner: &mut Worker, plan: &mut Plan) -> Result<()> {
    if plan.order.hook.is_none() {
        owner.call(&plan.order).await?;
    } else {
        case.reach(world, owner, &mut plan.order).await?;
        if matches!(plan.moment, Moment::Completion | Moment::Release) {
            owner.go(plan.order.call).await?;
        }
    }
    pass(plan.delay).await;
    Ok(())
}

/// Counts what the kill has hit, by what the owner had `written` down, and what came of the key.
fn count(world: &World, case: &Case, written: &[Entry], doubt: bool) {
    let owns = |value: &str| written.iter().any(|entry| entry.execution == value);
    let is_recorded = !doubt && case.history.recorded().is_some_and(|value| owns(&value));
    let next = case.history.of(What::Start).find(|entry| entry.attempt > 1);
    let was_told = next.is_some_and(|next| next.previous == Some(Ending::Error.letter()));
    let has_effect = written.iter().any(|entry| entry.what == What::Effect);
    let hit = if written.is_empty() {
        "killed before the body"
    } else if is_recorded || was_told {
        "killed after the record, or the error"
    } else {
        RUNNING
    };
    world.add("rounds", 1);
    world.add(hit, 1);
    world.add(BETWEEN, u64::from(hit == RUNNING && has_effect));
    case.count(world);
}
