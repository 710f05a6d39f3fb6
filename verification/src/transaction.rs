//! `kill -9` and SIGSTOP in the middle of a transaction that holds rows and their record.

mod count;
mod plan;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use self::count::{COUNTS, HELD_UP, Hit};
use self::plan::{Fate, Moment, Plan, Return};
use crate::case::{Case, Closed};
use crate::control::Control;
use crate::ledger::Ledger;
use crate::message::{Answer, Order, Point};
use crate::process::{Heard, Worker};
use crate::random::Random;
use crate::records::{Access, Place, Records};
use crate::report::Report;
use crate::setup::{Effects, Setup, StoreKind};
use crate::worker::Settings;
use crate::world::{Options, World, in_lanes, pass};

/// Nothing here has a lease, but for the control. The next caller is answered within so long, and a
/// second.
const LEASE: Duration = Duration::from_millis(200);
/// How long a body takes at most on either side of its effect.
const BODY: Duration = Duration::from_millis(10);
/// How long it takes at most until a body is at its hook.
const HOOK: Duration = Duration::from_secs(10);
/// Until when whoever waits for a stopped process has given up: four times 5 s for a file's lock.
const PATIENCE: Duration = Duration::from_secs(40);
/// How many others there are at most.
const RIVALS: u32 = 3;

/// A place for one round after the other. Each has a file of its own, so that a stopped process holds
/// nobody up but those who want the same key.
#[derive(Debug)]
struct Lane {
    world: Arc<World>,
    place: Place,
    ledger: Ledger,
    /// Started before it is needed.
    next_owner: Option<JoinHandle<Result<Worker>>>,
    rivals: [Worker; RIVALS as usize],
}

/// Kills or stops an owner in each round, and lets others call with its key at the same time.
///
/// # Errors
///
/// If the harness itself fails. A broken promise is in the report.
pub async fn run(setup: Setup) -> Result<Report> {
    ensure!(
        setup.store.has_transactions(),
        "rows and records are never in one transaction there"
    );
    ensure!(
        matches!(setup.control, None | Some(Control::RecordApart)),
        "that breaks no transaction"
    );
    let settings = Settings {
        effects: Effects::Rows,
        access: Access {
            connections: Some(1),
            ..Access::default()
        },
        ..Settings::new(&setup, LEASE, Duration::from_secs(10))
    };
    let lanes = match setup.store {
        StoreKind::Sqlite => 12,
        StoreKind::Memory | StoreKind::Postgres | StoreKind::Redis => 8,
    };
    let world = World::start(setup, Options::new("transaction", settings, COUNTS)).await?;
    world.set_workers((2 + RIVALS) * lanes);
    in_lanes(&world, lanes, lane).await?;
    let mut report = world.end().await?;
    count::expect(&mut report, world.setup.store);
    Ok(report)
}

async fn lane(world: Arc<World>) -> Result<()> {
    let mut lane = Lane::open(&world).await?;
    let mut closed = Vec::new();
    while let Some(number) = world.next_round() {
        let round = lane.round(number).await;
        closed.push(world.ended(number, round)?);
    }
    // Nothing that was committed goes, and nothing that was not comes.
    for mut closed in closed {
        let known = world.broken(&closed);
        lane.ledger.look(&closed.key, &mut closed.history).await?;
        world.accuse_late(&closed, &known);
    }
    Ok(())
}

impl Lane {
    async fn open(world: &Arc<World>) -> Result<Self> {
        let (place, records) = match world.setup.store {
            StoreKind::Sqlite => {
                let place = Place::Sqlite(world.path(&format!("lane-{}.db", world.number())));
                let records = Records::open(&place, Access::default()).await?;
                (place, records)
            }
            StoreKind::Memory | StoreKind::Postgres | StoreKind::Redis => {
                (world.place.clone(), world.records().clone())
            }
        };
        let ledger = Ledger::open(&place, records).await?;
        let hire = || world.hire_at(place.clone());
        let rivals = [hire().await?, hire().await?, hire().await?];
        Ok(Self {
            world: Arc::clone(world),
            place,
            ledger,
            next_owner: None,
            rivals,
        })
    }

    fn hire(&self) -> JoinHandle<Result<Worker>> {
        let (world, place) = (Arc::clone(&self.world), self.place.clone());
        tokio::spawn(async move { world.hire_at(place).await })
    }

    /// A fresh worker, and has another one started.
    async fn owner(&mut self) -> Result<Worker> {
        let owner = self.next_owner.take().unwrap_or_else(|| self.hire());
        let owner = owner.await??;
        self.next_owner = Some(self.hire());
        Ok(owner)
    }

    async fn round(&mut self, number: u64) -> Result<Closed> {
        let world = Arc::clone(&self.world);
        let mut random = world.random(number);
        let mut case = world.case(number, random.percent(50))?;
        let mut plan = Plan::draw(number, &world, &mut case, &mut random);
        let mut owner = self.owner().await?;
        let hit = match plan.fate {
            Fate::Kill(moment) => {
                self.kill(&mut case, &mut random, &mut owner, &mut plan, moment)
                    .await?
            }
            Fate::Stop(until) => {
                self.stop(&mut case, &mut random, &mut owner, &mut plan, until)
                    .await?
            }
        };
        // And once more, when all is settled.
        let order = case.order(&world, &mut random, BODY / 3);
        case.call_again(&world, &mut self.rivals[0], &order).await?;
        for rival in &mut self.rivals {
            case.collect(rival)?;
        }
        self.look(&mut case).await?;
        hit.count(&world, &mut case);
        Ok(world.conclude_as_seen(case))
    }

    async fn kill(
        &mut self,
        case: &mut Case,
        random: &mut Random,
        owner: &mut Worker,
        plan: &mut Plan,
        moment: Moment,
    ) -> Result<Hit> {
        self.begin(case, owner, plan).await?;
        let mut orders = Vec::new();
        if plan.early {
            orders = self.call_rivals(case, random, plan).await?;
        }
        if matches!(moment, Moment::Commit | Moment::RollBack) {
            owner.go(plan.order.call).await?;
        }
        pass(plan.delay).await;
        let mut answered = None;
        if moment == Moment::AfterAnswer {
            answered = case.answer(owner, &plan.order).await?;
        }
        owner.kill().await?;
        let mut killed = Instant::now();
        if moment != Moment::AfterAnswer {
            // It may have been answered before its end.
            answered = case.answer(owner, &plan.order).await?;
        }
        let written = case.collect(owner)?;
        self.look(case).await?;
        if plan.again {
            self.kill_again(case, random).await?;
            killed = Instant::now();
        }
        if !plan.early {
            orders = self.call_rivals(case, random, plan).await?;
        }
        self.look(case).await?;
        for (rival, order) in self.rivals.iter_mut().zip(&orders) {
            let answer = case.answer(rival, order).await?;
            match case.in_time(&self.world, order, killed, answer) {
                None | Some(Answer::Value(..)) => {}
                Some(answer) => case.accuse("P8", format!("a retry got {answer:?}")),
            }
        }
        Ok(Hit::Kill {
            written,
            answered: answered.is_some(),
            fails: plan.order.fails.is_some(),
            early: plan.early,
        })
    }

    /// Kills the one who takes over, too, between its write and the commit.
    async fn kill_again(&mut self, case: &mut Case, random: &mut Random) -> Result<()> {
        let mut owner = self.owner().await?;
        let mut order = case.order(&self.world, random, BODY);
        order.hook = Some(Point::AfterEffect);
        owner.call(&order).await?;
        if let Heard::Answer(at, answer) = owner.hear(order.call, Instant::now() + HOOK).await {
            // The first owner had got as far as to commit.
            case.history.answer(order.call, at, answer);
        }
        owner.kill().await?;
        case.collect(&mut owner)?;
        Ok(())
    }

    async fn stop(
        &mut self,
        case: &mut Case,
        random: &mut Random,
        owner: &mut Worker,
        plan: &mut Plan,
        until: Return,
    ) -> Result<Hit> {
        self.begin(case, owner, plan).await?;
        pass(plan.delay).await;
        owner.stop().await?;
        let mut written = case.collect(owner)?;
        let orders = self.call_rivals(case, random, plan).await?;
        let mut answers = Vec::new();
        match until {
            Return::Soon(after) => sleep(after).await,
            Return::AfterAnswers => {
                for (rival, order) in self.rivals.iter_mut().zip(&orders) {
                    let answer = case.answer_within(PATIENCE, rival, order).await?;
                    answers.extend(answer.map(|(_, answer)| answer));
                }
            }
        }
        // Where it is stopped in the middle of a write to the file, nobody can read either.
        if self.look(case).await.is_err() {
            self.world.add(HELD_UP, 1);
        }
        let rows = case.history.rows.last();
        let is_open = written
            .last()
            .is_some_and(|entry| rows.is_none_or(|look| !look.after.contains(&entry.execution)));
        owner.resume()?;
        let resumed = Instant::now();
        if plan.order.hook.is_some() {
            owner.go(plan.order.call).await?;
        }
        let late = case.answer(owner, &plan.order).await?;
        let late = case.in_time(&self.world, &plan.order, resumed, late);
        if until != Return::AfterAnswers {
            for (rival, order) in self.rivals.iter_mut().zip(&orders) {
                let answer = case.answer(rival, order).await?;
                answers.extend(case.in_time(&self.world, order, resumed, answer));
            }
        }
        written.extend(case.collect(owner)?);
        Ok(Hit::Stop {
            written,
            is_open,
            late,
            rivals: answers,
        })
    }

    /// Lets the owner call, and returns when its body is at its hook, if it has one.
    async fn begin(&self, case: &mut Case, owner: &mut Worker, plan: &mut Plan) -> Result<()> {
        if plan.order.hook.is_none() {
            owner.call(&plan.order).await
        } else {
            case.reach(&self.world, owner, &mut plan.order).await
        }
    }

    /// Has as many others as are planned call with the key at once.
    async fn call_rivals(
        &mut self,
        case: &mut Case,
        random: &mut Random,
        plan: &Plan,
    ) -> Result<Vec<Order>> {
        let mut orders = Vec::new();
        for rival in &mut self.rivals[..plan.rivals] {
            let mut order = case.order(&self.world, random, BODY / 3);
            order.wait = plan.wait;
            rival.call(&order).await?;
            orders.push(order);
        }
        Ok(orders)
    }

    async fn look(&self, case: &mut Case) -> Result<()> {
        let key = case.key().clone();
        self.ledger.look(&key, &mut case.history).await
    }
}
