//! Connections that break in a request, before its reply, or in the middle of it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use idempotent_testkit::server::{Cut, Proxy};
use tokio::time::{Instant, sleep};

use crate::case::Case;
use crate::message::{Order, Point};
use crate::process::Worker;
use crate::random::Random;
use crate::report::Report;
use crate::setup::{Setup, StoreKind};
use crate::worker::Settings;
use crate::world::{Options, World, in_lanes};

/// Long enough that no renewal comes between a hook and what follows.
const LEASE: Duration = Duration::from_millis(600);
const PATIENCE: Duration = Duration::from_millis(300);
const BODY: Duration = Duration::from_millis(5);
/// The server is out of reach for so long at most after a cut.
const OUTAGE: Duration = Duration::from_millis(1_200);
/// More bytes than any request has.
const WHOLE: usize = 1 << 20;

/// Which request is cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Target {
    Claim,
    Completion,
}

/// What happens in a round.
#[derive(Clone, Copy, Debug)]
struct Plan {
    target: Target,
    cut: Cut,
    /// For how long nobody can connect after the cut.
    outage: Duration,
}

impl Plan {
    fn draw(random: &mut Random) -> Self {
        let target = random.choose(&[(1, Target::Claim), (1, Target::Completion)]);
        let after = |bytes: u64| usize::try_from(bytes).unwrap_or(WHOLE);
        let cut = match random.below(4) {
            0 => Cut::Request {
                after: after(random.below(150)),
            },
            1 => Cut::Request { after: WHOLE },
            2 => Cut::Reply { after: 0 },
            _ => Cut::Reply {
                after: after(1 + random.below(4)),
            },
        };
        let outage = if random.percent(50) {
            Duration::ZERO
        } else {
            random.up_to(OUTAGE)
        };
        Self {
            target,
            cut,
            outage,
        }
    }

    fn name(&self) -> String {
        let target = match self.target {
            Target::Claim => "claim",
            Target::Completion => "completion",
        };
        let place = match self.cut {
            Cut::Request { after: WHOLE } => "after the request",
            Cut::Request { .. } => "in the request",
            Cut::Reply { after: 0 } => "before the reply",
            _ => "in the reply",
        };
        format!("{target} cut {place}")
    }
}

/// A place for one round after the other.
#[derive(Debug)]
struct Lane {
    world: Arc<World>,
    proxy: Proxy,
    /// Behind the proxy.
    caller: Worker,
    retrier: Worker,
}

/// Cuts a caller's connection in each round, and has another process call with its key.
///
/// # Errors
///
/// If the harness itself fails, or the store has no connections. A broken promise is in the report.
pub async fn run(setup: Setup) -> Result<Report> {
    ensure!(
        setup.store.has_server(),
        "there is no connection to cut to a file; say `--store redis`"
    );
    let mut settings = Settings::new(&setup, LEASE, PATIENCE);
    // Those to PostgreSQL take turns. With one, the connection that is cut is one that has been in use.
    settings.access.connections = Some(1);
    let world = World::start(setup, Options::new("cut", settings, COUNTS)).await?;
    in_lanes(&world, 16, lane).await?;
    let mut report = world.end().await?;
    report.expect("cuts that were made", 95, "rounds");
    report.expect("calls that got no value", 10, "rounds");
    Ok(report)
}

const COUNTS: &[&str] = &["rounds", "cuts that were made", "stuck keys"];

async fn lane(world: Arc<World>) -> Result<()> {
    let proxy = Proxy::start(world.endpoint().await?).await?;
    let caller = world.hire_at(world.place.through(&proxy)).await?;
    let retrier = world.hire().await?;
    let mut lane = Lane {
        world: Arc::clone(&world),
        proxy,
        caller,
        retrier,
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
        let plan = Plan::draw(&mut random);
        if world.setup.store == StoreKind::Postgres {
            self.warm_up(number, random.fork()).await?;
        }
        let mut case = world.case(number, random.percent(50))?;
        let mut order = case.order(&world, &mut random, BODY);
        if plan.target == Target::Completion {
            order.hook = Some(Point::AfterEffect);
        }
        self.call(&mut case, &plan, &mut order).await?;
        world.add("rounds", 1);
        world.add("cuts that were made", u64::from(self.proxy.has_cut()));
        case.collect(&mut self.caller)?;

        let retry = case.order(&world, &mut random, BODY);
        self.retrier.call(&retry).await?;
        let now = Instant::now();
        let answer = case
            .answer_in_time(&world, &mut self.retrier, &retry, now)
            .await?;
        if case.is_doubt(&world, answer.as_ref()) {
            let order = case.order(&world, &mut random, BODY);
            case.settle(&world, &mut self.retrier, &order).await?;
        }
        let last = case.order(&world, &mut random, BODY);
        case.call_again(&world, &mut self.retrier, &last).await?;
        case.collect(&mut self.retrier)?;
        if !case.recovers(&world, &mut self.caller, &mut random).await? {
            self.caller = world.hire_at(world.place.through(&self.proxy)).await?;
        }
        case.count(&world);
        world.close(case).await
    }

    /// Has the caller prepare its statements, so that the cut is in one that is carried out.
    async fn warm_up(&mut self, number: u64, mut random: Random) -> Result<()> {
        let world = Arc::clone(&self.world);
        let mut case = world.case(number, random.percent(50))?;
        case.recovers(&world, &mut self.caller, &mut random).await?;
        case.collect(&mut self.caller)?;
        world.close(case).await
    }

    /// Makes the call, and breaks its connection on the way.
    async fn call(&mut self, case: &mut Case, plan: &Plan, order: &mut Order) -> Result<()> {
        match plan.target {
            Target::Completion => {
                case.reach(&self.world, &mut self.caller, order).await?;
                self.proxy.cut(plan.cut);
                self.caller.go(order.call).await?;
            }
            Target::Claim => {
                self.proxy.cut(plan.cut);
                self.caller.call(order).await?;
            }
        }
        let (answer, ()) = tokio::join!(
            case.answer(&mut self.caller, order),
            interrupt(&self.proxy, plan.outage),
        );
        if let Some((_, answer)) = answer? {
            let name = format!("{}: {}", plan.name(), answer.name());
            self.world.add(&name, 1);
            let missing = answer.value().is_none();
            self.world
                .add("calls that got no value", u64::from(missing));
        }
        Ok(())
    }
}

/// Lets nobody connect for a while after the cut.
async fn interrupt(proxy: &Proxy, outage: Duration) {
    if outage.is_zero() {
        return;
    }
    for _ in 0..5_000 {
        if proxy.has_cut() {
            proxy.refuse();
            sleep(outage).await;
            proxy.accept();
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
}
