//! Many callers of one key at once: one runs, and all get its answer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use idempotency::Engine;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::body::{self, Stage};
use crate::log::{Entry, Log, LogReader, What};
use crate::message::{Answer, Order, Said};
use crate::process::Worker;
use crate::report::Report;
use crate::setup::Setup;
use crate::worker::{Settings, set};
use crate::world::{Options, World};

/// Nobody's lease is to end: a second execution would be a fault.
const LEASE: Duration = Duration::from_secs(20);
const BODY: Duration = Duration::from_millis(5);
const PROCESSES: usize = 4;
const CALLS: usize = 64;
/// How long all the callers of one key may take.
const LIMIT: Duration = Duration::from_secs(60);

const COUNTS: &[&str] = &[
    "rounds",
    "processes",
    "calls",
    "executions",
    "slowest key, ms",
];

/// Lets 64 callers call with one key at once, for many keys: in four processes, or in one where the
/// store is its memory.
///
/// # Errors
///
/// If the harness itself fails. A broken promise is in the report.
pub async fn run(setup: Setup) -> Result<Report> {
    let settings = Settings::new(&setup, LEASE, Duration::from_secs(10));
    let world = World::start(setup, Options::new("race", settings, COUNTS)).await?;
    let mut racers = Racers::start(&world).await?;
    while let Some(number) = world.next_round() {
        let round = round(&world, &mut racers, number).await;
        world.ended(number, round)?;
    }
    let mut report = world.end().await?;
    report.expect("executions", 100, "rounds");
    Ok(report)
}

async fn round(world: &Arc<World>, racers: &mut Racers, number: u64) -> Result<()> {
    let mut random = world.random(number);
    let mut case = world.case(number, random.percent(50))?;
    let orders: Vec<Order> = (0..CALLS)
        .map(|_| case.order(world, &mut random, BODY))
        .collect();
    let began = Instant::now();
    let (answers, entries) = racers.race(orders, began + LIMIT).await?;
    world.raise("slowest key, ms", began.elapsed());
    if answers.len() < CALLS {
        let text = format!(
            "only {} callers got an answer within {LIMIT:?}",
            answers.len()
        );
        case.accuse("P8", text);
    }
    for (call, at, answer) in answers {
        if answer.value().is_none() {
            case.accuse("one execution", format!("a caller got {answer:?}"));
        }
        case.history.answer(call, at, answer);
    }
    case.history.entries = entries;
    let executions = case.history.of(What::Start).count();
    if executions != 1 {
        case.accuse("one execution", format!("there were {executions}"));
    }
    world.add("rounds", 1);
    world.add("calls", CALLS as u64);
    world.add("executions", executions as u64);
    world.close(case).await
}

/// Who calls.
#[derive(Debug)]
enum Racers {
    Processes(Vec<Worker>),
    /// Tasks of this process.
    Tasks {
        engine: Engine,
        stage: Arc<Stage>,
        written: LogReader,
    },
}

impl Racers {
    async fn start(world: &World) -> Result<Self> {
        if let Some(store) = world.memory() {
            world.add("processes", 1);
            let path = world.path("memory.log");
            let stage = Stage::new("memory".to_owned(), Log::open(&path)?, |_| {});
            return Ok(Self::Tasks {
                engine: set(Engine::builder(store), world.settings).build(),
                stage: Arc::new(stage),
                written: LogReader::new(path),
            });
        }
        let mut workers = Vec::new();
        for _ in 0..PROCESSES {
            workers.push(world.hire().await?);
        }
        world.add("processes", PROCESSES as u64);
        Ok(Self::Processes(workers))
    }

    /// Has all the calls made at once. Returns what the callers got until `deadline`, and what the
    /// bodies have written down.
    async fn race(
        &mut self,
        orders: Vec<Order>,
        deadline: Instant,
    ) -> Result<(Vec<(u64, Instant, Answer)>, Vec<Entry>)> {
        let mut answers = Vec::new();
        match self {
            Self::Processes(workers) => {
                let mut entries = Vec::new();
                for (index, order) in orders.iter().enumerate() {
                    workers[index % PROCESSES].call(order).await?;
                }
                for worker in workers {
                    for _ in 0..orders.len() / PROCESSES {
                        let said = worker.next(deadline).await;
                        if let Some((at, Said::Answered(call, answer))) = said {
                            answers.push((call, at, answer));
                        }
                    }
                    entries.extend(worker.entries()?);
                }
                Ok((answers, entries))
            }
            Self::Tasks {
                engine,
                stage,
                written,
            } => {
                let mut calls = JoinSet::new();
                for order in orders {
                    let (engine, stage) = (engine.clone(), Arc::clone(stage));
                    calls.spawn(async move {
                        let call = order.call;
                        let answer = body::call(&engine, stage, order).await;
                        (call, Instant::now(), answer)
                    });
                }
                while let Ok(Some(answer)) = timeout_at(deadline, calls.join_next()).await {
                    answers.push(answer?);
                }
                Ok((answers, written.new_entries()?))
            }
        }
    }
}
