//! A Redis server that evicts records when it is full, under owners that run.
//!
//! Nothing brings a result back that was evicted: its call runs again. That is counted, and not held
//! against the store, which refuses such a server unless it is told to take it. What is promised all
//! the same: an owner writes its record anew, within the time for which that is safe and not after
//! it; whoever comes later gets the one value that is recorded then.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use idempotency::{State, StoreError};
use tokio::time::{Instant, sleep};

use crate::log::What;
use crate::message::{Answer, Point};
use crate::records::{Access, Place};
use crate::report::{Report, Violation};
use crate::setup::{Setup, StoreKind};
use crate::volley::Hit;
use crate::worker::Settings;
use crate::world::{Options, Pair, World, together};

const LEASE: Duration = Duration::from_millis(240);
const BODY: Duration = Duration::from_millis(5);
/// How many calls each eviction hits.
const CALLERS: usize = 12;
/// The server's memory. The policy, the default of several hosted services, evicts whatever expires:
/// all records, that is, once something else takes all the room.
const SERVER: &[(&str, &str)] = &[
    ("--maxmemory", "16mb"),
    ("--maxmemory-policy", "volatile-lru"),
];
const PRESSURE: &str = "redis.call('SET', 'ballast', string.rep('x', 16777216))";
/// How often, and how long apart, the server is asked whether all records are gone.
const LOOKS: usize = 200;
const LOOK_PAUSE: Duration = Duration::from_millis(2);
/// How long a renewal may take, on a machine that has a lot to do.
const RENEWAL: Duration = Duration::from_secs(2);
/// A ttl that a body outlives. An owner may write its record anew for so long, or a little less.
const SHORT_TTL: Duration = Duration::from_millis(400);

/// What happens to a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Plan {
    /// Its result is forgotten, and the next call runs again.
    Forgotten,
    /// Its owner completes at once.
    Healed,
    /// Another calls at once, and runs as the first.
    Raced,
    /// Its owner renews its lease, and then another calls.
    Renewed,
    /// Its owner comes back when it is too late to write the record anew.
    TooLate,
}

const PLANS: &[(u64, Plan)] = &[
    (1, Plan::Forgotten),
    (3, Plan::Healed),
    (3, Plan::Raced),
    (3, Plan::Renewed),
    (2, Plan::TooLate),
];

const HEALED: &str = "running owners: record written anew";
const RACED: &str = "running owners: another ran as the first";
const TOO_LATE: &str = "running owners: too late, and told so";
const FORGOTTEN: &str = "results forgotten, and run again";
const COUNTS: &[&str] = &[
    "rounds",
    "calls",
    "records evicted",
    "keys with one effect",
    "keys with two effects",
    "stuck keys",
];

/// Has all records evicted in each round, while several owners run.
///
/// # Errors
///
/// If the harness itself fails, or the store evicts nothing. A broken promise is in the report.
pub async fn run(setup: Setup) -> Result<Report> {
    ensure!(
        setup.store == StoreKind::Redis,
        "only Redis evicts records; say `--store redis`"
    );
    let mut settings = Settings::new(&setup, LEASE, Duration::from_secs(5));
    settings.access.allow_eviction = true;
    let mut options = Options::new("evict", settings, COUNTS);
    options.server = SERVER;
    let world = World::start(setup, options).await?;
    check_refusal(&world).await;
    let mut workers = world.hire_pairs(CALLERS).await?;
    while let Some(number) = world.next_round() {
        let round = round(&world, workers, number).await;
        workers = world.ended(number, round)?;
    }
    let mut report = world.end().await?;
    report.expect(HEALED, 25, "calls");
    report.expect(RACED, 3, "calls");
    report.expect(TOO_LATE, 5, "calls");
    report.expect(FORGOTTEN, 2, "calls");
    Ok(report)
}

/// A store that nobody has told to takes no server that evicts records.
async fn check_refusal(world: &World) {
    let Place::Redis(url) = &world.place else {
        return;
    };
    match Access::default().redis(url).await {
        Err(StoreError::Misconfigured(_)) => world.add("stores that refused the server", 1),
        other => {
            let text = format!("a server that evicts was taken: {:?}", other.err());
            world.accuse("connecting", &Violation::new("eviction", text));
        }
    }
}

async fn round(world: &Arc<World>, workers: Vec<Pair>, number: u64) -> Result<Vec<Pair>> {
    let hits = Hit::draw(world, workers, number, PLANS, BODY)?;
    let mut hits = together(hits, Hit::begin).await?;
    if hits.iter().any(|hit| hit.plan == Plan::TooLate) {
        sleep(SHORT_TTL).await;
    }
    let gone = evict(world).await?;
    for hit in &mut hits {
        if matches!(hit.plan, Plan::Forgotten | Plan::Raced) {
            hit.case.lose(gone);
        }
    }
    let hits = together(hits, Hit::go_on).await?;
    world.add("rounds", 1);
    let mut workers = Vec::new();
    for hit in hits {
        hit.case.count(world);
        // The next eviction takes it away.
        world.conclude(hit.case).await?;
        workers.push((hit.caller, hit.other));
    }
    Ok(workers)
}

/// Puts the server under pressure until it has evicted all records. Returns when that was so.
async fn evict(world: &World) -> Result<Instant> {
    let evicted = async || -> Result<u64> {
        let stats = world.ask(&["INFO", "stats"]).await?;
        let mut lines = stats
            .lines()
            .filter_map(|line| line.strip_prefix("evicted_keys:"));
        let count = lines.next().and_then(|count| count.trim().parse().ok());
        Ok(count.unwrap_or_default())
    };
    let records: u64 = world.ask(&["DBSIZE"]).await?.parse()?;
    let before = evicted().await?;
    world.ask(&["EVAL", PRESSURE, "0"]).await?;
    for _ in 0..LOOKS {
        // Owners may write theirs anew meanwhile.
        if evicted().await? - before >= records {
            break;
        }
        sleep(LOOK_PAUSE).await;
    }
    let gone = Instant::now();
    world.ask(&["DEL", "ballast"]).await?;
    world.add("records evicted", evicted().await? - before);
    Ok(gone)
}

impl Hit<Plan> {
    /// Brings the call to where its record is evicted.
    async fn begin(mut self) -> Result<Self> {
        self.world.add("calls", 1);
        if self.plan == Plan::TooLate {
            self.order.ttl = SHORT_TTL;
        }
        if self.plan != Plan::Forgotten {
            let points = [(1, Point::BeforeEffect), (2, Point::AfterEffect)];
            self.order.hook = Some(self.random.choose(&points));
        }
        if self.order.hook.is_some() {
            self.case
                .reach(&self.world, &mut self.caller, &mut self.order)
                .await?;
        } else {
            self.caller.call(&self.order).await?;
            self.case.answer(&mut self.caller, &self.order).await?;
        }
        Ok(self)
    }

    async fn go_on(mut self) -> Result<Self> {
        match self.plan {
            Plan::Forgotten => {}
            Plan::Healed => self.heal().await?,
            Plan::Raced => self.race().await?,
            Plan::Renewed => self.renew().await?,
            Plan::TooLate => self.come_too_late().await?,
        }
        self.case.collect(&mut self.caller)?;
        self.case.collect(&mut self.other)?;
        if self.plan != Plan::TooLate {
            let order = self.case.order(&self.world, &mut self.random, BODY);
            self.case
                .call_again(&self.world, &mut self.other, &order)
                .await?;
            self.case.collect(&mut self.other)?;
        }
        if self.plan == Plan::Forgotten && self.case.history.of(What::Effect).count() == 2 {
            self.world.add(FORGOTTEN, 1);
        }
        Ok(self)
    }

    /// The owner's completion finds no record, and writes it.
    async fn heal(&mut self) -> Result<()> {
        self.caller.go(self.order.call).await?;
        let answer = self.case.answer(&mut self.caller, &self.order).await?;
        if answer.is_some_and(|(_, answer)| answer.value().is_some()) {
            self.world.add(HEALED, 1);
        } else {
            self.case
                .accuse("C10", "a completion did not write its record anew");
        }
        Ok(())
    }

    /// The owner's renewal finds no record, and writes it: whoever comes then waits.
    async fn renew(&mut self) -> Result<()> {
        let deadline = Instant::now() + RENEWAL;
        let mut record = self.world.look(&mut self.case).await?;
        while record.is_none() && Instant::now() < deadline {
            sleep(LEASE / 10).await;
            record = self.world.look(&mut self.case).await?;
        }
        if record.is_none_or(|record| record.state != State::InProgress) {
            self.case
                .accuse("C10", "a renewal did not write its record anew");
        }
        let order = self.case.order(&self.world, &mut self.random, BODY);
        self.other.call(&order).await?;
        sleep(self.random.up_to(LEASE)).await;
        self.caller.go(self.order.call).await?;
        self.case.answer(&mut self.caller, &self.order).await?;
        self.case.answer(&mut self.other, &order).await?;
        self.world.add(HEALED, 1);
        Ok(())
    }

    /// Another runs before the owner has written its record anew: the owner is told.
    async fn race(&mut self) -> Result<()> {
        let mut order = self.case.order(&self.world, &mut self.random, BODY);
        self.other.call(&order).await?;
        sleep(self.random.up_to(BODY + BODY)).await;
        self.caller.go(self.order.call).await?;
        order.hook = None;
        let told = self.case.answer(&mut self.caller, &self.order).await?;
        self.case.answer(&mut self.other, &order).await?;
        let entries = self.case.collect(&mut self.other)?;
        if entries.is_empty() {
            self.world.add(HEALED, 1);
            return Ok(());
        }
        self.world.add(RACED, 1);
        match told {
            Some((_, Answer::Value(..) | Answer::LeaseLost(_))) => {}
            answer => {
                let text = format!("an owner whose record is another's got {answer:?}");
                self.case.accuse("C8", text);
            }
        }
        Ok(())
    }

    /// The owner has had its grant for too long to write its record anew.
    async fn come_too_late(&mut self) -> Result<()> {
        // Its renewals have had their try as well.
        sleep(LEASE / 2).await;
        let record = self.world.look(&mut self.case).await?;
        self.caller.go(self.order.call).await?;
        let answer = self.case.answer(&mut self.caller, &self.order).await?;
        let answer = answer.map(|(_, answer)| answer);
        if record.is_none() && matches!(answer, Some(Answer::LeaseLost(_))) {
            self.world.add(TOO_LATE, 1);
        } else {
            let found = record.map(|record| record.state);
            let text = format!("after {SHORT_TTL:?}, {found:?} was written, and told {answer:?}");
            self.case.accuse("C10", text);
        }
        Ok(())
    }
}
