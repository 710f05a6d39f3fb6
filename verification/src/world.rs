//! What the rounds of a run share: a store, workers, and what is known so far.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use idempotency::{Key, MemoryStore, Record, ResolveError};
use idempotent_testkit::server::{Endpoint, RedisServer};
use tempfile::TempDir;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep, sleep_until};

use crate::body::SCOPES;
use crate::case::{Case, Closed, SLOW};
use crate::guard::Guard;
use crate::history::{Look, Resolution, Rules};
use crate::process::Worker;
use crate::progress::Progress;
use crate::random::Random;
use crate::records::{Access, Place, Records};
use crate::report::{Report, Violation};
use crate::server::{Server, redis_pid};
use crate::setup::{Setup, StoreKind};
use crate::witness::Witness;
use crate::worker::{Settings, WorkerArgs};

/// How often, and how long apart, the harness itself asks a store that fails.
const LOOKS: usize = 100;
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// How coarse timers are.
const TICK: Duration = Duration::from_millis(2);

/// One run.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) settings: Settings,
    pub(crate) place: Place,
    pub(crate) progress: Progress,
    pub(crate) witness: Witness,
    rules: Rules,
    records: Records,
    report: Mutex<Report>,
    /// The keys that are done, to be looked at once more.
    closed: Mutex<Vec<Closed>>,
    numbers: AtomicU64,
    rounds: AtomicU64,
    /// How many there have been at once.
    workers: AtomicU32,
    server: tokio::sync::Mutex<Option<Server>>,
    /// Removed when nothing runs in it any more.
    directory: TempDir,
    /// Last, so that it finds nothing to do.
    guard: tokio::sync::Mutex<Guard>,
}

/// A worker whose call is hit, and one that calls with its key.
pub(crate) type Pair = (Worker, Worker);

/// How a run differs from others, beside its setup.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) kind: &'static str,
    pub(crate) settings: Settings,
    /// What is counted, in the order in which it is shown.
    pub(crate) counts: &'static [&'static str],
    /// Arguments of the Redis server, in pairs.
    pub(crate) server: &'static [(&'static str, &'static str)],
    /// Where the store is, if the run has servers of its own.
    pub(crate) place: Option<Place>,
}

impl Options {
    pub(crate) const fn new(
        kind: &'static str,
        settings: Settings,
        counts: &'static [&'static str],
    ) -> Self {
        Self {
            kind,
            settings,
            counts,
            server: &[],
            place: None,
        }
    }
}

impl World {
    pub(crate) async fn start(setup: Setup, options: Options) -> Result<Arc<Self>> {
        let Options {
            kind,
            settings,
            counts,
            server: arguments,
            place,
        } = options;
        let directory = tempfile::Builder::new().prefix("verification-").tempdir()?;
        let mut guard = Guard::start(&setup.program, directory.path())?;
        let server = match &place {
            Some(_) => None,
            None => Server::start(setup.store, arguments).await?,
        };
        if let Some(server) = &server {
            guard.watch(&server.pid()?).await?;
        }
        let place = match (place, &server) {
            (Some(place), _) => place,
            (None, Some(server)) => server.place(),
            (None, None) if setup.store == StoreKind::Memory => Place::Memory,
            (None, None) => Place::Sqlite(directory.path().join("records.db")),
        };
        // The harness itself waits for no replica, and takes whatever room there is.
        let access = Access {
            allow_eviction: settings.access.allow_eviction,
            ..Access::default()
        };
        let records = Records::open(&place, access).await?;
        let title = format!("{kind} {}", setup.on());
        let progress = Progress::new(title, setup.rounds, setup.progress);
        let lease = Some(settings.lease);
        let mut report = Report::new(kind, &setup);
        for name in counts {
            report.add(name, 0);
        }
        Ok(Arc::new(Self {
            rules: Rules {
                mode: setup.mode,
                lease,
                effects: settings.effects,
            },
            report: Mutex::new(report),
            setup,
            settings,
            place,
            progress,
            witness: Witness::start(&directory.path().join("witness"))?,
            records,
            closed: Mutex::default(),
            numbers: AtomicU64::new(1),
            rounds: AtomicU64::new(0),
            workers: AtomicU32::new(0),
            server: tokio::sync::Mutex::new(server),
            guard: tokio::sync::Mutex::new(guard),
            directory,
        }))
    }

    /// A number that nothing else in this run has.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// The next round, until there are enough.
    pub(crate) fn next_round(&self) -> Option<u64> {
        let round = self.rounds.fetch_add(1, Ordering::Relaxed);
        (round < self.setup.rounds).then_some(round)
    }

    /// Takes note of how a round has ended.
    pub(crate) fn ended<T>(&self, round: u64, result: Result<T>) -> Result<T> {
        let result = result.with_context(|| format!("round {round} failed"))?;
        self.progress.tick();
        Ok(result)
    }

    /// What a round draws its plan from.
    pub(crate) fn random(&self, round: u64) -> Random {
        Random::new(self.setup.seed, round)
    }

    /// Says how many workers there are at once.
    pub(crate) fn set_workers(&self, workers: u32) {
        self.workers.store(workers, Ordering::Relaxed);
    }

    /// Starts a worker on the store.
    pub(crate) async fn hire(&self) -> Result<Worker> {
        self.hire_at(self.place.clone()).await
    }

    /// Starts a worker that reaches the store at `place`.
    pub(crate) async fn hire_at(&self, place: Place) -> Result<Worker> {
        let name = format!("w{}", self.number());
        let log = self.path(&format!("{name}.log"));
        let args = WorkerArgs::new(place, name, log, self.settings);
        Worker::start(&self.setup.program, &args).await
    }

    /// Starts so many pairs of workers on the store.
    pub(crate) async fn hire_pairs(&self, count: usize) -> Result<Vec<Pair>> {
        let mut pairs = Vec::new();
        for _ in 0..count {
            pairs.push((self.hire().await?, self.hire().await?));
        }
        Ok(pairs)
    }

    /// The store, if it is in this process.
    pub(crate) fn memory(&self) -> Option<MemoryStore> {
        match &self.records {
            Records::Memory(store) => Some(store.clone()),
            Records::Postgres(_) | Records::Redis(_) | Records::Sqlite(_) => None,
        }
    }

    /// The harness's own eyes and hands on the store.
    pub(crate) const fn records(&self) -> &Records {
        &self.records
    }

    /// Where a file of this run is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Begins a key of its own.
    pub(crate) fn case(&self, round: u64, told: bool) -> Result<Case> {
        let name = format!("r{round}-k{}", self.number());
        let key = Key::new(SCOPES[usize::from(told)], &name)?;
        Ok(Case::new(name, key, told, round))
    }

    /// Looks at the record of `case`.
    pub(crate) async fn look(&self, case: &mut Case) -> Result<Option<Record>> {
        let look = self.look_at(case.key()).await?;
        let record = look.record.clone();
        case.history.looks.push(look);
        Ok(record)
    }

    async fn look_at(&self, key: &Key) -> Result<Look> {
        let began = Instant::now();
        let record = self.record(key).await?;
        Ok(Look {
            began,
            ended: Instant::now(),
            record,
        })
    }

    async fn record(&self, key: &Key) -> Result<Option<Record>> {
        let mut looked = self.records.get(key).await;
        for _ in 0..LOOKS {
            if looked.is_ok() {
                break;
            }
            sleep(LOOK_PAUSE).await;
            looked = self.records.get(key).await;
        }
        looked.context("the harness cannot look at a record")
    }

    /// Settles the doubt of `case` as an operator would: with `value`, or as not executed. Its owner
    /// may be quicker.
    pub(crate) async fn resolve(&self, case: &mut Case, value: Option<&str>) -> Result<()> {
        self.look(case).await?;
        let began = Instant::now();
        match self.records.resolve(case.key(), value).await {
            Ok(()) => {
                case.history.resolution = value.map(|value| Resolution {
                    began,
                    ended: Instant::now(),
                    value: value.to_owned(),
                });
                self.add("doubts settled", 1);
            }
            Err(ResolveError::NotInDoubt) => self.add("doubts settled by their owner", 1),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Ends a round: judges the key, and keeps it for a last look.
    pub(crate) async fn close(&self, case: Case) -> Result<()> {
        let closed = self.conclude(case).await?;
        self.closed().push(closed);
        Ok(())
    }

    /// Ends a round and judges the key, whose record need not stay.
    pub(crate) async fn conclude(&self, mut case: Case) -> Result<Closed> {
        self.look(&mut case).await?;
        Ok(self.conclude_as_seen(case))
    }

    /// Ends a round and judges the key, at which somebody has just looked.
    pub(crate) fn conclude_as_seen(&self, case: Case) -> Closed {
        let closed = case.close();
        let (broken, given_up) = self.judge(&closed);
        for violation in closed.violations.iter().chain(&broken) {
            self.accuse(&closed.name, violation);
        }
        let given_up: BTreeSet<_> = given_up.iter().map(|given_up| given_up.promise).collect();
        for promise in given_up {
            self.add(&format!("keys that a loss has cost: {promise}"), 1);
        }
        for answer in closed.history.answers() {
            self.add(&format!("answers: {}", answer.name()), 1);
        }
        closed
    }

    /// Accuses what has come to light since the key was concluded, when this was `known`.
    pub(crate) fn accuse_late(&self, closed: &Closed, known: &[Violation]) {
        for violation in self
            .broken(closed)
            .iter()
            .filter(|late| !known.contains(late))
        {
            self.accuse(&closed.name, violation);
        }
    }

    /// What is broken of the promises.
    pub(crate) fn broken(&self, closed: &Closed) -> Vec<Violation> {
        self.judge(closed).0
    }

    /// What is broken of the promises, and what had to be given up.
    fn judge(&self, closed: &Closed) -> (Vec<Violation>, Vec<Violation>) {
        match closed.lost {
            None => (closed.history.judge(self.rules), Vec::new()),
            Some(lost) => closed.history.judge_loss(self.rules, lost),
        }
    }

    /// Judges each key once more by its record now, and returns what the run has come to.
    pub(crate) async fn end(&self) -> Result<Report> {
        let all = std::mem::take(&mut *self.closed());
        for mut closed in all {
            let known = self.broken(&closed);
            closed.history.looks.push(self.look_at(&closed.key).await?);
            self.accuse_late(&closed, &known);
        }
        self.raise("the machine stood still, ms", self.witness.worst());
        let mut report = self.report();
        report.limit(SLOW, 5, "rounds");
        report.time = self.progress.elapsed();
        Ok(report.clone())
    }

    pub(crate) fn accuse(&self, key: &str, violation: &Violation) {
        let violation = Violation::new(violation.promise, format!("{key}: {}", violation.text));
        if self.setup.progress && self.setup.control.is_none() {
            eprintln!("VIOLATION {violation}");
        }
        self.report().violations.push(violation);
    }

    /// What excuses that somebody had to wait from `since` until `until`.
    pub(crate) fn excuse(&self, since: Instant, until: Instant) -> Duration {
        let turns = match self.setup.store {
            StoreKind::Memory | StoreKind::Postgres | StoreKind::Redis => 0,
            // One process after the other writes to the file, and flushes it.
            StoreKind::Sqlite => self.workers.load(Ordering::Relaxed),
        };
        self.witness.excuse(since, until, turns)
    }

    pub(crate) fn add(&self, name: &str, count: u64) {
        self.report().add(name, count);
    }

    pub(crate) fn raise(&self, name: &str, to: Duration) {
        let to = u64::try_from(to.as_millis()).unwrap_or(u64::MAX);
        self.report().raise(name, to);
    }

    /// The report so far.
    pub(crate) fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closed(&self) -> MutexGuard<'_, Vec<Closed>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The socket or port of the server, for a proxy.
    pub(crate) async fn endpoint(&self) -> Result<Endpoint> {
        let server = self.server.lock().await;
        server.as_ref().context("there is no server")?.endpoint()
    }

    /// Sends one command to the Redis server.
    pub(crate) async fn ask(&self, command: &[&str]) -> Result<String> {
        let server = self.server.lock().await;
        server.as_ref().context("there is no server")?.ask(command)
    }

    /// Has a `server` of the run's own ended if the harness is killed.
    pub(crate) async fn watch(&self, server: &RedisServer) -> Result<()> {
        self.guard.lock().await.watch(&redis_pid(server)?).await
    }

    /// Kills the server.
    pub(crate) async fn kill_server(&self) -> Result<()> {
        let mut server = self.server.lock().await;
        server.as_mut().context("there is no server")?.kill()
    }

    /// Starts the server again, with the data that it had.
    pub(crate) async fn restart_server(&self) -> Result<()> {
        let mut slot = self.server.lock().await;
        let server = slot.take().context("there is no server")?.restart().await?;
        self.guard.lock().await.watch(&server.pid()?).await?;
        *slot = Some(server);
        Ok(())
    }
}

/// Waits for `delay`, more exactly than by a timer: those tick in whole milliseconds, in which a store has
/// long answered.
pub(crate) async fn pass(delay: Duration) {
    let until = Instant::now() + delay;
    sleep_until(until - TICK.min(delay)).await;
    while Instant::now() < until {
        yield_now().await;
    }
}

/// Runs `count` lanes at once, and ends them at the first error.
pub(crate) async fn in_lanes<F>(
    world: &Arc<World>,
    count: u32,
    lane: impl Fn(Arc<World>) -> F,
) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let mut lanes = JoinSet::new();
    for _ in 0..count {
        lanes.spawn(lane(Arc::clone(world)));
    }
    while let Some(lane) = lanes.join_next().await {
        lane??;
    }
    Ok(())
}

/// Has all the parts of a round done at once.
pub(crate) async fn together<T, F>(parts: Vec<T>, run: impl Fn(T) -> F) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let mut running = JoinSet::new();
    for part in parts {
        running.spawn(run(part));
    }
    let mut done = Vec::new();
    while let Some(part) = running.join_next().await {
        done.push(part??);
    }
    Ok(done)
}
