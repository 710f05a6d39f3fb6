//! A process that calls the functions under test, and does as it is told in between.

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use idempotency::{Engine, EngineBuilder, Inspect, OnAbandoned, Store};
#[cfg(target_os = "linux")]
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::sync::mpsc;

use crate::body::{self, Stage};
use crate::control::{Broken, Control};
use crate::log::Log;
use crate::message::{Answer, Command, Order, Said};
use crate::records::{Access, Place};
use crate::rows::Rows;
use crate::setup::{Effects, Mode, Setup};

/// What a worker is started with.
#[derive(Clone, Debug, Args)]
pub struct WorkerArgs {
    /// Where the records are.
    #[arg(long)]
    place: Place,
    /// Its name, which its executions begin with.
    #[arg(long)]
    name: String,
    /// Where its bodies write down what they do.
    #[arg(long)]
    log: PathBuf,
    /// The lease, in milliseconds.
    #[arg(long)]
    lease: u64,
    /// For how long a caller waits for a result to be recorded, in milliseconds.
    #[arg(long)]
    patience: u64,
    /// What becomes of an attempt that falls silent.
    #[arg(long)]
    mode: Mode,
    /// How to break the store.
    #[arg(long)]
    control: Option<Control>,
    /// What an effect of the functions is.
    #[arg(long)]
    effects: Effects,
    #[command(flatten)]
    access: Access,
}

impl WorkerArgs {
    pub(crate) fn new(place: Place, name: String, log: PathBuf, settings: Settings) -> Self {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            place,
            name,
            log,
            lease: millis(settings.lease),
            patience: millis(settings.patience),
            mode: settings.mode,
            control: settings.control,
            access: settings.access,
            effects: settings.effects,
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            lease: Duration::from_millis(self.lease),
            patience: Duration::from_millis(self.patience),
            mode: self.mode,
            control: self.control,
            access: self.access,
            effects: self.effects,
        }
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    pub(crate) fn to_arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            format!("--place={}", self.place),
            format!("--name={}", self.name),
            format!("--log={}", self.log.display()),
            format!("--lease={}", self.lease),
            format!("--patience={}", self.patience),
            format!("--mode={}", self.mode.name()),
            format!("--effects={}", self.effects.name()),
        ];
        arguments.extend(self.access.to_arguments());
        if let Some(control) = self.control {
            arguments.push(format!("--control={}", control.name()));
        }
        arguments
    }
}

/// How an engine of a run is set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) lease: Duration,
    pub(crate) patience: Duration,
    pub(crate) mode: Mode,
    pub(crate) control: Option<Control>,
    pub(crate) access: Access,
    pub(crate) effects: Effects,
}

impl Settings {
    pub(crate) fn new(setup: &Setup, lease: Duration, patience: Duration) -> Self {
        Self {
            lease,
            patience,
            mode: setup.mode,
            control: setup.control,
            access: Access::default(),
            effects: Effects::default(),
        }
    }
}

/// Calls the functions as the standard input says, until it ends.
///
/// # Errors
///
/// If the store or the log cannot be opened, or the input is not understood.
pub async fn run(args: WorkerArgs) -> Result<()> {
    // A stopped process does not see the end of its input.
    #[cfg(target_os = "linux")]
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let functions = Functions::open(&args).await?;
    serve(functions, args).await
}

/// What the worker is told to call.
#[derive(Clone, Debug)]
enum Functions {
    Lines(Engine),
    Rows(Rows),
}

impl Functions {
    async fn open(args: &WorkerArgs) -> Result<Self> {
        let (settings, access) = (args.settings(), args.access);
        match (&args.place, args.effects) {
            (Place::Memory, _) => bail!("a process has its memory for itself"),
            (Place::Postgres(url), Effects::Lines) => {
                Ok(Self::lines(access.postgres(url).await?, settings))
            }
            (Place::Postgres(url), Effects::Rows) => {
                let store = access.postgres(url).await?;
                let engine = set(Engine::builder(store.clone()), settings).build();
                Rows::on_postgres(&store, url, engine, args.control).map(Self::Rows)
            }
            (Place::Redis(url), Effects::Lines) => {
                Ok(Self::lines(access.redis(url).await?, settings))
            }
            (Place::Redis(_), Effects::Rows) => bail!("Redis has no rows"),
            (Place::Sqlite(path), Effects::Lines) => {
                Ok(Self::lines(access.sqlite(path)?, settings))
            }
            (Place::Sqlite(path), Effects::Rows) => {
                let store = access.sqlite(path)?;
                let engine = set(Engine::builder(store.clone()), settings).build();
                Ok(Self::Rows(Rows::on_sqlite(
                    store,
                    path,
                    engine,
                    args.control,
                )))
            }
        }
    }

    fn lines(store: impl Store + Inspect, settings: Settings) -> Self {
        let builder = match settings.control {
            None => Engine::builder(store),
            Some(control) => Engine::builder(Broken::new(store, control)),
        };
        Self::Lines(set(builder, settings).build())
    }

    async fn call(&self, stage: Arc<Stage>, order: Order) -> Answer {
        match self {
            Self::Lines(engine) => body::call(engine, stage, order).await,
            Self::Rows(rows) => rows.call(stage, order).await,
        }
    }
}

async fn serve(functions: Functions, args: WorkerArgs) -> Result<()> {
    let stage = Arc::new(Stage::new(args.name, Log::open(&args.log)?, say));

    let mut orders = listen(Arc::clone(&stage));
    say(&Said::Ready);
    while let Some(order) = orders.recv().await {
        let (order, functions, stage) = (order?, functions.clone(), Arc::clone(&stage));
        tokio::spawn(async move {
            let call = order.call;
            let answer = functions.call(stage, order).await;
            say(&Said::Answered(call, answer));
        });
    }
    Ok(())
}

pub(crate) fn set(builder: EngineBuilder, settings: Settings) -> EngineBuilder {
    builder
        .lease(settings.lease)
        .record_patience(settings.patience)
        .on_abandoned(match settings.mode {
            Mode::InDoubt => OnAbandoned::InDoubt,
            Mode::Rerun => OnAbandoned::Rerun,
        })
}

/// Reads commands in a thread of its own, which nothing has to wait for. There it lets bodies go on,
/// too: one that blocks its runtime could not be told otherwise.
fn listen(stage: Arc<Stage>) -> mpsc::UnboundedReceiver<Result<Order>> {
    let (sender, orders) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let command = line
                .context("the input cannot be read")
                .and_then(|line| serde_json::from_str(&line).context(line));
            let order = match command {
                Ok(Command::Go(call)) => {
                    stage.go(call);
                    continue;
                }
                Ok(Command::Call(order)) => Ok(order),
                Err(error) => Err(error),
            };
            if sender.send(order).is_err() {
                return;
            }
        }
    });
    orders
}

/// Says one thing, at once.
fn say(said: &Said) {
    let mut line = serde_json::to_string(said).unwrap_or_default();
    line.push('\n');
    let mut out = io::stdout().lock();
    // Without a harness there is nobody to tell.
    _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
}
