//! A store without room: it refuses to start work, never to keep or finish it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use idempotency::{Key, State};
use tokio::time::{Instant, sleep};

use crate::case::SLOW;
use crate::log::What;
use crate::message::{Answer, Point};
use crate::report::Report;
use crate::setup::{Setup, StoreKind};
use crate::volley::Hit;
use crate::worker::Settings;
use crate::world::{Options, Pair, World, together};

const LEASE: Duration = Duration::from_millis(300);
const BODY: Duration = Duration::from_millis(5);
/// How many calls a full store hits at once.
const CALLERS: usize = 12;
/// How much of a file may be in use; and so much is put into it when it is to be full.
const FILE: usize = 8 << 20;
/// A server's memory while there is room, and what it holds beside the records all the time.
const MEMORY: &str = "64mb";
const BALLAST: &str = "redis.call('SET', 'ballast', string.rep('x', 8388608))";
/// Less than the server uses already.
const NO_MEMORY: &str = "4mb";

/// What a call has to do with the time in which there is no room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Part {
    /// It has begun before, and ends in it.
    Begun,
    /// It has ended before, and another asks for its result.
    Ended,
    /// It has failed before, and another is to run.
    Failed,
    /// It comes in it.
    New,
    /// Its process has died before, and another is to take over.
    Silent,
}

const PARTS: &[(u64, Part)] = &[
    (4, Part::Begun),
    (2, Part::Ended),
    (2, Part::Failed),
    (3, Part::New),
    (1, Part::Silent),
];

const FINISHED: &str = "calls that finished without room";
const REFUSED: &str = "calls that were refused to begin";
const AGAIN_REFUSED: &str = "takeovers and retries that were refused";
const AGAIN: &str = "takeovers and retries that had their room";
const COUNTS: &[&str] = &[
    "rounds",
    "calls",
    FINISHED,
    "of these waited for by another",
    "replays without room",
    REFUSED,
    AGAIN_REFUSED,
    AGAIN,
    "keys with one effect",
    "keys with two effects",
    "stuck keys",
];

/// Takes the room away in each round, in the middle of several calls.
///
/// # Errors
///
/// If the harness itself fails, or the store has no limit. A broken promise is in the report.
pub async fn run(setup: Setup) -> Result<Report> {
    ensure!(
        matches!(setup.store, StoreKind::Redis | StoreKind::Sqlite),
        "only Redis and a file can be told how much room there is; say `--store redis`"
    );
    let mut settings = Settings::new(&setup, LEASE, Duration::from_secs(5));
    if setup.store == StoreKind::Sqlite {
        settings.access.max_bytes = Some(FILE as u64);
    }
    let mut options = Options::new("full", settings, COUNTS);
    options.server = &[
        ("--maxmemory", MEMORY),
        ("--maxmemory-policy", "noeviction"),
    ];
    let world = World::start(setup, options).await?;
    if world.setup.store == StoreKind::Redis {
        world.ask(&["EVAL", BALLAST, "0"]).await?;
    }
    let mut workers = world.hire_pairs(CALLERS).await?;
    while let Some(number) = world.next_round() {
        let round = round(&world, workers, number).await;
        workers = world.ended(number, round)?;
    }
    let mut report = world.end().await?;
    report.expect(FINISHED, 20, "calls");
    report.expect(REFUSED, 10, "calls");
    let again = match world.setup.store {
        StoreKind::Redis => AGAIN_REFUSED,
        StoreKind::Memory | StoreKind::Postgres | StoreKind::Sqlite => AGAIN,
    };
    report.expect(again, 10, "calls");
    Ok(report)
}

async fn round(world: &Arc<World>, workers: Vec<Pair>, number: u64) -> Result<Vec<Pair>> {
    let hits = Hit::draw(world, workers, number, PARTS, BODY)?;
    let hits = together(hits, Hit::before).await?;
    fill(world, number).await?;
    // Leases are renewed meanwhile, and that of a dead process runs out.
    sleep(LEASE + LEASE / 2).await;
    let hits = together(hits, Hit::without_room).await?;
    make_room(world, number).await?;
    let hits = together(hits, Hit::after).await?;
    world.add("rounds", 1);
    let mut workers = Vec::new();
    for hit in hits {
        hit.case.count(world);
        world.close(hit.case).await?;
        workers.push((hit.caller, hit.other));
    }
    Ok(workers)
}

async fn fill(world: &World, round: u64) -> Result<()> {
    match world.setup.store {
        StoreKind::Redis => world
            .ask(&["CONFIG", "SET", "maxmemory", NO_MEMORY])
            .await
            .map(drop),
        StoreKind::Memory | StoreKind::Postgres | StoreKind::Sqlite => {
            Ok(world.records().put(&ballast(round)?, FILE).await?)
        }
    }
}

async fn make_room(world: &World, round: u64) -> Result<()> {
    match world.setup.store {
        StoreKind::Redis => world
            .ask(&["CONFIG", "SET", "maxmemory", MEMORY])
            .await
            .map(drop),
        StoreKind::Memory | StoreKind::Postgres | StoreKind::Sqlite => {
            Ok(world.records().delete(&ballast(round)?).await?)
        }
    }
}

fn ballast(round: u64) -> Result<Key> {
    Ok(Key::new("verification.ballast", &round.to_string())?)
}

impl Hit<Part> {
    async fn before(mut self) -> Result<Self> {
        self.world.add("calls", 1);
        match self.plan {
            Part::Begun | Part::Silent => {
                let points = [(1, Point::BeforeEffect), (2, Point::AfterEffect)];
                self.order.hook = Some(self.random.choose(&points));
                self.case
                    .reach(&self.world, &mut self.caller, &mut self.order)
                    .await?;
            }
            Part::Failed => {
                self.order.fails = Some(Point::BeforeEffect);
                self.expect_first("the body's error", |answer| *answer == Answer::Declined)
                    .await?;
            }
            Part::Ended => {
                self.expect_first("a value", |answer| answer.value().is_some())
                    .await?;
            }
            Part::New => {}
        }
        if self.plan == Part::Silent {
            self.caller.kill().await?;
            self.case.collect(&mut self.caller)?;
            self.caller = self.world.hire().await?;
        }
        Ok(self)
    }

    async fn without_room(mut self) -> Result<Self> {
        match self.plan {
            Part::Begun => self.finish().await?,
            Part::Ended => {
                if self
                    .other_gets("a replay", |answer| answer.value().is_some())
                    .await?
                {
                    self.world.add("replays without room", 1);
                }
            }
            Part::Failed | Part::Silent => self.run_again().await?,
            Part::New => {
                self.expect_first("a refusal", is_refused).await?;
                self.world.add(REFUSED, 1);
            }
        }
        Ok(self)
    }

    /// Lets the body come to its end, while another waits for its result in half of the cases.
    async fn finish(&mut self) -> Result<()> {
        let waits = self.random.percent(50);
        let order = waits.then(|| self.case.order(&self.world, &mut self.random, BODY));
        if let Some(order) = &order {
            self.other.call(order).await?;
            sleep(self.random.up_to(BODY)).await;
        }
        self.caller.go(self.order.call).await?;
        let answer = self.case.answer(&mut self.caller, &self.order).await?;
        self.check("a value", self.order.call, answer, |answer| {
            answer.value().is_some()
        });
        let record = self.world.look(&mut self.case).await?;
        if record.is_none_or(|record| record.state != State::Completed) {
            self.case
                .accuse("C13", "a call that had begun was not recorded");
        }
        if let Some(order) = &order {
            let answer = self.case.answer(&mut self.other, order).await?;
            self.check("a value", order.call, answer, |answer| {
                answer.value().is_some()
            });
            self.world.add("of these waited for by another", 1);
        }
        self.world.add(FINISHED, 1);
        Ok(())
    }

    /// Has another call with a key whose record is there, and which nobody holds. A server without
    /// memory writes nothing that can be refused; a file has the record's room already.
    async fn run_again(&mut self) -> Result<()> {
        let (what, fits, name): (_, fn(&Answer) -> bool, _) = match self.world.setup.store {
            StoreKind::Redis => ("a refusal", is_refused, AGAIN_REFUSED),
            StoreKind::Memory | StoreKind::Postgres | StoreKind::Sqlite => {
                ("a value", |answer| answer.value().is_some(), AGAIN)
            }
        };
        if self.other_gets(what, fits).await? {
            self.world.add(name, 1);
        }
        Ok(())
    }

    async fn after(mut self) -> Result<Self> {
        self.case.collect(&mut self.caller)?;
        self.case.collect(&mut self.other)?;
        let begun = self.case.history.of(What::Start).count();
        let may_begin = match (self.plan, self.world.setup.store) {
            (Part::New, _) => 0,
            // A file has the record's room already. An owner who could not renew its lease in time, on a
            // busy disk, may have been taken over as well.
            (Part::Begun | Part::Failed | Part::Silent, StoreKind::Sqlite) => 2,
            _ => 1,
        };
        if begun > may_begin {
            let text = format!("{:?}: {begun} calls have begun without room", self.plan);
            self.case.accuse("C13", text);
        }
        let order = self.case.order(&self.world, &mut self.random, BODY);
        self.case
            .call_again(&self.world, &mut self.other, &order)
            .await?;
        self.case.collect(&mut self.other)?;
        Ok(self)
    }

    async fn expect_first(&mut self, what: &str, fits: fn(&Answer) -> bool) -> Result<()> {
        self.caller.call(&self.order).await?;
        let answer = self.case.answer(&mut self.caller, &self.order).await?;
        self.check(what, self.order.call, answer, fits);
        Ok(())
    }

    async fn other_gets(&mut self, what: &str, fits: fn(&Answer) -> bool) -> Result<bool> {
        let order = self.case.order(&self.world, &mut self.random, BODY);
        self.other.call(&order).await?;
        let answer = self.case.answer(&mut self.other, &order).await?;
        Ok(self.check(what, order.call, answer, fits))
    }

    fn check(
        &mut self,
        what: &str,
        call: u64,
        answer: Option<(Instant, Answer)>,
        fits: fn(&Answer) -> bool,
    ) -> bool {
        let answer = answer.map(|(_, answer)| answer);
        let is_good = answer.as_ref().is_some_and(fits);
        if !is_good && self.case.was_slow(&self.world, call) {
            self.world.add(SLOW, 1);
        } else if !is_good {
            let text = format!("{:?}: {answer:?} instead of {what}", self.plan);
            self.case.accuse("C13", text);
        }
        is_good
    }
}

fn is_refused(answer: &Answer) -> bool {
    matches!(answer, Answer::Store(_))
}
