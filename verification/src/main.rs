//! `verification kill`, and so on: one kind of chaos, on one store or on all.

mod suite;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use idempotency::Clock;
use verification::worker::WorkerArgs;
use verification::{Control, Mode, StoreKind};

use self::suite::{Kind, Suite};

/// Chaos on real servers: what becomes of calls whose process dies, stops, or loses its store.
///
/// Exits with 1 if a promise was broken, or if a run was too tame to prove that none is.
#[derive(Debug, Parser)]
#[command(arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// All of them, and the stores that are broken on purpose.
    All(AllArgs),
    /// Connections that break in a request, before its reply, or in the middle of it.
    Cut(RunArgs),
    /// `kill -9` of an owner at any moment of its call.
    Kill(RunArgs),
    /// 64 callers of one key at once, in one process and in four.
    Race(RunArgs),
    /// Connections that break while they are made.
    Reconnect(RunArgs),
    /// A Redis server that is killed, and comes back.
    Restart(RunArgs),
    /// SIGSTOP of an owner until its lease is over and another has taken over.
    Stop(RunArgs),
    /// A process under test.
    #[command(hide = true)]
    Worker(WorkerArgs),
    /// Cleans up after a harness that was killed.
    #[command(hide = true)]
    Guard {
        /// The directory to remove at the end.
        directory: PathBuf,
    },
}

#[derive(Clone, Debug, Args)]
struct AllArgs {
    /// A thousand rounds and more of each kind, instead of as many as take a minute or two.
    #[arg(long)]
    full: bool,
    /// What the rounds are drawn from; the clock's if it is left out.
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Clone, Debug, Args)]
struct RunArgs {
    /// On this store alone.
    #[arg(long)]
    store: Option<StoreKind>,
    /// In this mode alone.
    #[arg(long)]
    mode: Option<Mode>,
    /// How many rounds on each store and in each mode.
    #[arg(long, default_value_t = 100)]
    rounds: u64,
    /// What the rounds are drawn from; the clock's if it is left out.
    #[arg(long)]
    seed: Option<u64>,
    /// Break the store in this way. The run has to report violations then.
    #[arg(long)]
    control: Option<Control>,
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::from(2)
        }
    }
}

/// Returns whether all is well.
fn run(task: Task) -> Result<bool> {
    match task {
        Task::Guard { directory } => verification::guard::run(&directory).map(|()| true),
        Task::Worker(args) => work(args).map(|()| true),
        Task::All(args) => Suite::start(args.seed)?.all(args.full),
        Task::Cut(args) => only(Kind::Cut, &args),
        Task::Kill(args) => only(Kind::Kill, &args),
        Task::Race(args) => only(Kind::Race, &args),
        Task::Reconnect(args) => only(Kind::Reconnect, &args),
        Task::Restart(args) => only(Kind::Restart, &args),
        Task::Stop(args) => only(Kind::Stop, &args),
    }
}

fn work(args: WorkerArgs) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let served = runtime.block_on(verification::worker::run(args));
    // The thread that reads the input need not be waited for.
    runtime.shutdown_background();
    served
}

fn only(kind: Kind, args: &RunArgs) -> Result<bool> {
    let mut suite = Suite::start(args.seed)?;
    for (store, mode) in kind.variants() {
        let left_out = args.store.is_some_and(|only| only != store)
            || args.mode.is_some_and(|only| only != mode);
        if !left_out {
            suite.run(kind, store, mode, args.rounds, args.control)?;
        }
    }
    suite.end()
}

/// A seed for whoever names none.
fn any_seed() -> u64 {
    Clock::system().now().as_micros() % 1_000_000
}
