//! A Redis primary that is killed, and a replica that takes its place.
//!
//! A replica is behind. What the primary had acknowledged and the replica had not received is lost,
//! and a call may run again as the first. Nothing that a client does changes that, so it is counted
//! and not held against the store. With `WAIT` a write is acknowledged once the replica has it.
//!
//! What was lost is known, not guessed: the dead primary had a log of all its writes, so it is
//! started once more, by itself, and each record in it is compared with the replica's.

mod servers;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use idempotency::Record;
use tokio::time::{Instant, sleep};

use self::servers::Servers;
use crate::case::Case;
use crate::history::History;
use crate::log::What;
use crate::message::{Order, Point};
use crate::process::Worker;
use crate::random::Random;
use crate::records::value_of;
use crate::report::{LOST, Report};
use crate::setup::{Setup, StoreKind};
use crate::worker::Settings;
use crate::world::{Options, Pair, World, together};

const LEASE: Duration = Duration::from_millis(600);
/// The servers need about so long to be a pair again, and a replica is needed for `WAIT`.
const PATIENCE: Duration = Duration::from_secs(8);
const BODY: Duration = Duration::from_millis(5);
/// How many calls each failover hits.
const CALLERS: usize = 12;
/// How far the replica is behind, at most. It is up to twice as far.
const LAG: Duration = Duration::from_millis(30);

/// What a call is doing when the primary is killed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Moment {
    /// Its caller has its answer.
    Answered,
    /// Anything.
    Anywhere,
    /// It has not begun.
    BeforeClaim,
    /// Another waits for its result, and may see it before the replica does.
    Read,
    /// Its body runs.
    Running,
}

const MOMENTS: &[(u64, Moment)] = &[
    (3, Moment::Answered),
    (3, Moment::Anywhere),
    (1, Moment::BeforeClaim),
    (2, Moment::Read),
    (3, Moment::Running),
];

const COUNTS: &[&str] = &[
    "rounds",
    "calls",
    "keys on which the replica was behind",
    LOST,
    "of these claims",
    "of these results",
    "results lost that another had been given",
    "takeovers",
    "keys with one effect",
    "keys with two effects",
    "stuck keys",
];

/// One key, and the two who call with it.
#[derive(Debug)]
struct Hit {
    world: Arc<World>,
    random: Random,
    case: Case,
    moment: Moment,
    order: Order,
    /// The call of whoever waits for its result.
    read: Option<Order>,
    caller: Worker,
    other: Worker,
    /// What the dead primary had of it, and what the replica has.
    records: [Option<Record>; 2],
    /// When the replica had taken the primary's place.
    promoted: Instant,
}

/// What was lost of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Loss {
    Claim,
    Result,
    /// A result that its own caller had not been told, but another.
    Read,
}

/// Kills the primary in each round, in the middle of several calls, and promotes the replica.
///
/// # Errors
///
/// If the harness itself fails, or the store has no replicas. A broken promise is in the report.
pub async fn run(setup: Setup) -> Result<Report> {
    ensure!(
        setup.store == StoreKind::Redis,
        "only Redis is given a replica; say `--store redis`"
    );
    let mut servers = Servers::start().await?;
    let mut settings = Settings::new(&setup, LEASE, PATIENCE);
    settings.access.replicas = usize::from(setup.replicated);
    let mut options = Options::new("failover", settings, COUNTS);
    options.place = Some(servers.place());
    let world = World::start(setup, options).await?;
    servers.entrust(&world).await?;
    let mut workers = world.hire_pairs(CALLERS).await?;
    while let Some(number) = world.next_round() {
        let round = round(&world, &mut servers, workers, number).await;
        workers = world.ended(number, round)?;
    }
    let mut report = world.end().await?;
    report.expect("keys on which the replica was behind", 5, "calls");
    if world.setup.replicated {
        report.limit(LOST, 1, "calls");
    } else {
        report.expect(LOST, 10, "calls");
    }
    Ok(report)
}

async fn round(
    world: &Arc<World>,
    servers: &mut Servers,
    workers: Vec<Pair>,
    number: u64,
) -> Result<Vec<Pair>> {
    let mut random = world.random(number);
    let mut hits = Vec::new();
    for (caller, other) in workers {
        hits.push(Hit::new(world, &mut random, number, caller, other)?);
    }
    servers.lag(random.up_to(LAG));
    let mut hits = together(hits, Hit::begin).await?;
    for hit in &mut hits {
        hit.start().await?;
    }
    // Where a write waits for the replica, a call takes longer.
    let pause = if world.setup.replicated { 4 * LAG } else { LAG };
    sleep(random.up_to(pause)).await;
    let keys: Vec<_> = hits.iter().map(|hit| hit.case.key().clone()).collect();
    servers.kill_primary().await?;
    for hit in &mut hits {
        hit.go_on().await?;
    }
    let promoted = servers.promote(&keys).await?;
    let now = Instant::now();
    let dead = servers.rejoin(world, &keys).await?;
    for ((hit, dead), promoted) in hits.iter_mut().zip(dead).zip(promoted) {
        hit.records = [dead, promoted];
        hit.promoted = now;
    }
    let hits = together(hits, Hit::finish).await?;
    servers.catch_up().await?;
    world.add("rounds", 1);
    let mut workers = Vec::new();
    for mut hit in hits {
        hit.count();
        hit.case.count(world);
        world.close(hit.case).await?;
        workers.push((hit.caller, hit.other));
    }
    Ok(workers)
}

impl Hit {
    fn new(
        world: &Arc<World>,
        random: &mut Random,
        number: u64,
        caller: Worker,
        other: Worker,
    ) -> Result<Self> {
        let mut case = world.case(number, random.percent(50))?;
        let moment = random.choose(MOMENTS);
        let mut order = case.order(world, random, BODY);
        if moment == Moment::Running {
            let points = [(1, Point::BeforeEffect), (2, Point::AfterEffect)];
            order.hook = Some(random.choose(&points));
        }
        let read = (moment == Moment::Read).then(|| case.order(world, random, BODY));
        Ok(Self {
            world: Arc::clone(world),
            random: random.fork(),
            case,
            moment,
            order,
            read,
            caller,
            other,
            records: [None, None],
            promoted: Instant::now(),
        })
    }

    /// Brings the call to where the primary is killed.
    async fn begin(mut self) -> Result<Self> {
        self.world.add("calls", 1);
        match self.moment {
            Moment::Anywhere | Moment::BeforeClaim | Moment::Read => {}
            Moment::Answered => {
                self.caller.call(&self.order).await?;
                self.case.answer(&mut self.caller, &self.order).await?;
            }
            Moment::Running => {
                self.case
                    .reach(&self.world, &mut self.caller, &mut self.order)
                    .await?;
            }
        }
        Ok(self)
    }

    /// Begins, a moment before the primary is killed.
    async fn start(&mut self) -> Result<()> {
        if matches!(self.moment, Moment::Anywhere | Moment::Read) {
            self.caller.call(&self.order).await?;
        }
        if let Some(read) = &self.read {
            self.other.call(read).await?;
        }
        Ok(())
    }

    /// Goes on, now that the primary is dead.
    async fn go_on(&mut self) -> Result<()> {
        match self.moment {
            Moment::Answered | Moment::Anywhere | Moment::Read => Ok(()),
            Moment::BeforeClaim => self.caller.call(&self.order).await,
            Moment::Running => self.caller.go(self.order.call).await,
        }
    }

    /// Hears what the call got, and has another process call with its key.
    async fn finish(mut self) -> Result<Self> {
        let world = Arc::clone(&self.world);
        if self.moment != Moment::Answered {
            self.case.answer(&mut self.caller, &self.order).await?;
        }
        if let Some(read) = &self.read {
            self.case.answer(&mut self.other, read).await?;
        }
        self.case.collect(&mut self.caller)?;
        let retry = self.case.order(&world, &mut self.random, BODY);
        self.other.call(&retry).await?;
        let now = Instant::now();
        let answer = self
            .case
            .answer_in_time(&world, &mut self.other, &retry, now)
            .await?;
        self.case.collect(&mut self.other)?;
        if self.case.is_doubt(&world, answer.as_ref()) {
            let order = self.case.order(&world, &mut self.random, BODY);
            self.case.settle(&world, &mut self.other, &order).await?;
        }
        let last = self.case.order(&world, &mut self.random, BODY);
        self.case.call_again(&world, &mut self.other, &last).await?;
        self.case.collect(&mut self.other)?;
        Ok(self)
    }

    /// Counts what the failover has cost.
    fn count(&mut self) {
        let [dead, replica] = &self.records;
        let is_behind = dead != replica;
        let loss = loss(
            &self.case.history,
            dead.as_ref(),
            replica.as_ref(),
            self.promoted,
        );
        let names: &[_] = match loss {
            None => &[],
            Some(Loss::Claim) => &[LOST, "of these claims"],
            Some(Loss::Result) => &[LOST, "of these results"],
            Some(Loss::Read) => &["results lost that another had been given"],
        };
        for name in names {
            self.world.add(name, 1);
        }
        self.world
            .add("keys on which the replica was behind", u64::from(is_behind));
        if loss.is_some() {
            self.case.lose(self.promoted);
        }
    }
}

/// What somebody was told by the `dead` primary, or had begun to do, of which the `replica` knows
/// nothing.
fn loss(
    history: &History,
    dead: Option<&Record>,
    replica: Option<&Record>,
    promoted: Instant,
) -> Option<Loss> {
    let dead = dead?;
    if dead.state.is_finished() && !replica.is_some_and(|record| record.state.is_finished()) {
        let value = value_of(dead).ok()?;
        let told = history.calls.iter().filter(|call| match &call.answer {
            Some((at, answer)) => *at < promoted && answer.value() == Some(&value),
            None => false,
        });
        let told: Vec<_> = told.map(|call| call.number).collect();
        let mut effects = history.of(What::Effect);
        let own = effects.find(|effect| effect.execution == value);
        if own.is_some_and(|own| told.contains(&own.call)) {
            return Some(Loss::Result);
        }
        if !told.is_empty() {
            return Some(Loss::Read);
        }
    }
    let fence = dead.fence.as_u64();
    let is_known = replica.is_some_and(|record| record.fence.as_u64() >= fence);
    let mut starts = history.of(What::Start);
    (!is_known && starts.any(|start| start.fence == fence)).then_some(Loss::Claim)
}
