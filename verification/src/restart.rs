//! A server that is killed and comes back, with all that it had written to its log.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::case::Case;
use crate::message::{Order, Point};
use crate::random::Random;
use crate::report::Report;
use crate::setup::Setup;
use crate::worker::Settings;
use crate::world::{Options, Pair, World};

const LEASE: Duration = Duration::from_millis(600);
const PATIENCE: Duration = Duration::from_millis(500);
const BODY: Duration = Duration::from_millis(10);
/// The server is away for so long at most in every other round, beside the time that it needs to
/// start.
const OUTAGE: Duration = Duration::from_secs(1);
/// How many calls each restart hits.
const CALLERS: usize = 12;

/// When the server is killed, for one of the callers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Moment {
    Anywhere,
    BeforeClaim,
    BeforeCompletion,
}

impl Moment {
    const fn name(self) -> &'static str {
        match self {
            Self::Anywhere => "killed anywhere",
            Self::BeforeClaim => "killed before the claim",
            Self::BeforeCompletion => "killed before the completion",
        }
    }
}

/// One call that is hit.
#[derive(Debug)]
struct Hit {
    case: Case,
    moment: Moment,
    order: Order,
}

/// Kills and restarts the server in each round, in the middle of several calls.
///
/// # Errors
///
/// If the harness itself fails, or the store has no server. A broken promise is in the report.
pub async fn run(setup: Setup) -> Result<Report> {
    ensure!(
        setup.store.has_server(),
        "there is no server to restart behind a file; say `--store redis`"
    );
    let settings = Settings::new(&setup, LEASE, PATIENCE);
    let mut options = Options::new("restart", settings, COUNTS);
    // Whatever was acknowledged is in the file, so that nothing excuses a lost record.
    options.server = &[("--appendonly", "yes"), ("--appendfsync", "always")];
    let world = World::start(setup, options).await?;
    let mut workers = world.hire_pairs(CALLERS).await?;
    while let Some(number) = world.next_round() {
        let round = round(&world, &mut workers, number).await;
        world.ended(number, round)?;
    }
    let mut report = world.end().await?;
    report.expect("calls that got no value", 10, "calls");
    Ok(report)
}

const COUNTS: &[&str] = &["rounds", "calls", "calls that got no value", "stuck keys"];

async fn round(world: &Arc<World>, workers: &mut Vec<Pair>, number: u64) -> Result<()> {
    let mut random = world.random(number);
    let mut hits = Vec::new();
    for _ in 0..workers.len() {
        let mut case = world.case(number, random.percent(50))?;
        let moment = random.choose(&[
            (1, Moment::Anywhere),
            (1, Moment::BeforeClaim),
            (1, Moment::BeforeCompletion),
        ]);
        let mut order = case.order(world, &mut random, BODY);
        let hooked = moment == Moment::BeforeCompletion;
        order.hook = hooked.then_some(Point::AfterEffect);
        hits.push(Hit {
            case,
            moment,
            order,
        });
    }
    interrupt(world, workers, &mut hits, number, &mut random).await?;
    let back = Instant::now();
    world.add("rounds", 1);

    let mut calls = JoinSet::new();
    for (pair, hit) in workers.drain(..).zip(hits) {
        let (world, random) = (Arc::clone(world), random.fork());
        calls.spawn(async move { finish(&world, pair, hit, random, back).await });
    }
    while let Some(pair) = calls.join_next().await {
        workers.push(pair??);
    }
    Ok(())
}

/// Kills the server at the moment of each of the `hits`, and has it started again.
async fn interrupt(
    world: &World,
    workers: &mut [Pair],
    hits: &mut [Hit],
    number: u64,
    random: &mut Random,
) -> Result<()> {
    for (pair, hit) in workers.iter_mut().zip(hits.iter_mut()) {
        if hit.moment == Moment::BeforeCompletion {
            hit.case.reach(world, &mut pair.0, &mut hit.order).await?;
        }
    }
    let at = |moment| {
        hits.iter()
            .enumerate()
            .filter(move |(_, hit)| hit.moment == moment)
    };
    for (index, hit) in at(Moment::Anywhere) {
        workers[index].0.call(&hit.order).await?;
    }
    sleep(random.up_to(BODY + BODY)).await;
    world.kill_server().await?;
    for (index, hit) in at(Moment::BeforeClaim) {
        workers[index].0.call(&hit.order).await?;
    }
    for (index, hit) in at(Moment::BeforeCompletion) {
        workers[index].0.go(hit.order.call).await?;
    }
    if number % 2 == 1 {
        // Longer than a caller tries to claim.
        sleep(OUTAGE / 2 + random.up_to(OUTAGE / 2)).await;
    }
    world.restart_server().await
}

/// Hears what the call got, and has another process call with its key.
async fn finish(
    world: &World,
    (mut caller, mut retrier): Pair,
    hit: Hit,
    mut random: Random,
    back: Instant,
) -> Result<Pair> {
    let Hit {
        mut case,
        moment,
        order,
    } = hit;
    world.add("calls", 1);
    if let Some((_, answer)) = case.answer(&mut caller, &order).await? {
        world.add(&format!("{}: {}", moment.name(), answer.name()), 1);
        let missing = answer.value().is_none();
        world.add("calls that got no value", u64::from(missing));
    }
    case.collect(&mut caller)?;

    let retry = case.order(world, &mut random, BODY);
    retrier.call(&retry).await?;
    let since = back.max(Instant::now());
    let answer = case
        .answer_in_time(world, &mut retrier, &retry, since)
        .await?;
    if case.is_doubt(world, answer.as_ref()) {
        let order = case.order(world, &mut random, BODY);
        case.settle(world, &mut retrier, &order).await?;
    }
    let last = case.order(world, &mut random, BODY);
    case.call_again(world, &mut retrier, &last).await?;
    case.collect(&mut retrier)?;
    case.count(world);
    world.close(case).await?;
    Ok((caller, retrier))
}
