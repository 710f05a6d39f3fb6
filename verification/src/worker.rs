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
use crate::message::{Command, Order, Said};
use crate::records::{Access, Place};
use crate::setup::{Mode, Setup};

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
}

impl Settings {
    pub(crate) fn new(setup: &Setup, lease: Duration, patience: Duration) -> Self {
        Self {
            lease,
            patience,
            mode: setup.mode,
            control: setup.control,
            access: Access::default(),
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
    match args.place.clone() {
        Place::Memory => bail!("a process has its memory for itself"),
        Place::Postgres(url) => serve(args.access.postgres(&url).await?, args).await,
        Place::Redis(url) => serve(args.access.redis(&url).await?, args).await,
        Place::Sqlite(path) => serve(args.access.sqlite(&path)?, args).await,
    }
}

async fn serve(store: impl Store + Inspect, args: WorkerArgs) -> Result<()> {
    let builder = match args.control {
        None => Engine::builder(store),
        Some(control) => Engine::builder(Broken::new(store, control)),
    };
    let settings = Settings {
        lease: Duration::from_millis(args.lease),
        patience: Duration::from_millis(args.patience),
        mode: args.mode,
        control: args.control,
        access: args.access,
    };
    let engine = set(builder, settings).build();
    let stage = Arc::new(Stage::new(args.name, Log::open(&args.log)?, say));

    let mut orders = listen(Arc::clone(&stage));
    say(&Said::Ready);
    while let Some(order) = orders.recv().await {
        let (order, engine, stage) = (order?, engine.clone(), Arc::clone(&stage));
        tokio::spawn(async move {
            let call = order.call;
            let answer = body::call(&engine, stage, order).await;
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
