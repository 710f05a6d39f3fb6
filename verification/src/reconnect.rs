//! Connections that break while they are made: afterwards the caller gets answers again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use idempotent_testkit::server::{Cut, Proxy};
use tokio::time::sleep;

use crate::process::Worker;
use crate::random::Random;
use crate::report::Report;
use crate::setup::Setup;
use crate::worker::Settings;
use crate::world::{Options, World, in_lanes};

const LEASE: Duration = Duration::from_millis(600);
/// How long nobody can connect at most, so that the caller has to do so anew.
const OUTAGE: Duration = Duration::from_millis(600);

/// A place for one round after the other.
#[derive(Debug)]
struct Lane {
    world: Arc<World>,
    proxy: Proxy,
    caller: Worker,
}

/// Takes a caller's connection away in each round, and breaks the next one while it is made.
///
/// # Errors
///
/// If the harness itself fails, or the store has no connections. A broken promise is in the report.
pub async fn run(setup: Setup) -> Result<Report> {
    ensure!(
        setup.store.has_server(),
        "there is no connection to break to a file; say `--store redis`"
    );
    let settings = Settings::new(&setup, LEASE, LEASE);
    let world = World::start(setup, Options::new("reconnect", settings, COUNTS)).await?;
    in_lanes(&world, 12, lane).await?;
    let mut report = world.end().await?;
    report.expect(CUT, 90, "rounds");
    Ok(report)
}

const CUT: &str = "connections cut while they were made";
const COUNTS: &[&str] = &["rounds", CUT, "callers that never recovered"];

async fn lane(world: Arc<World>) -> Result<()> {
    let proxy = Proxy::start(world.endpoint().await?).await?;
    let caller = world.hire_at(world.place.through(&proxy)).await?;
    let mut lane = Lane {
        world: Arc::clone(&world),
        proxy,
        caller,
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
        self.proxy.refuse();
        if random.percent(70) {
            // A call that fails makes the caller connect again, and again in vain.
            let order = case.order(&world, &mut random, Duration::ZERO);
            self.caller.call(&order).await?;
            case.answer(&mut self.caller, &order).await?;
        }
        sleep(random.up_to(OUTAGE)).await;
        self.proxy.accept();
        self.proxy.cut(draw(&mut random));
        let order = case.order(&world, &mut random, Duration::ZERO);
        self.caller.call(&order).await?;
        case.answer(&mut self.caller, &order).await?;
        world.add("rounds", 1);
        world.add(CUT, u64::from(self.proxy.has_cut()));
        if !case.recovers(&world, &mut self.caller, &mut random).await? {
            self.caller = world.hire_at(world.place.through(&self.proxy)).await?;
        }
        case.collect(&mut self.caller)?;
        world.close(case).await
    }
}

fn draw(random: &mut Random) -> Cut {
    let after = usize::try_from(random.below(8)).unwrap_or_default();
    if random.percent(30) {
        Cut::Request { after }
    } else {
        Cut::Reply { after }
    }
}
