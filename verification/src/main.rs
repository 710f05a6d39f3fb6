//! `verification chaos`: every kind of chaos on every store. `verification chaos kill`: one of them.
//! `verification model`: everything that can happen in a small world. `verification sim`: what the seeds
//! of a simulated network make happen.

mod models;
mod suite;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};
use idempotency::Clock;
use verification::model::Variant;
use verification::worker::WorkerArgs;
use verification::{Control, Mode, StoreKind};

use self::suite::{Amount, Kind, Suite};

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
    /// Kinds of chaos, each on every store that it says something about.
    Chaos(ChaosArgs),
    /// Everything that can happen to a few calls of one key, in a model of the protocol.
    Model(ModelArgs),
    /// Clients, a server and their network in one thread: the same seed is the same history.
    Sim(SimArgs),
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
struct ChaosArgs {
    /// Which kinds; all if none is named.
    kinds: Vec<Kind>,
    /// Thousands of rounds, instead of as many as take a few minutes.
    #[arg(long)]
    full: bool,
    /// How many rounds on each store and in each mode.
    #[arg(long, conflicts_with = "full")]
    rounds: Option<u64>,
    /// On this store alone.
    #[arg(long)]
    store: Option<StoreKind>,
    /// In this mode alone.
    #[arg(long)]
    mode: Option<Mode>,
    /// Break the store, or its use, in this way. The run has to find it out then.
    #[arg(long)]
    control: Option<Control>,
    /// What the rounds are drawn from; the clock's if it is left out.
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Clone, Debug, Args)]
struct SimArgs {
    /// Thousands of seeds, instead of as many as take half a minute.
    #[arg(long)]
    full: bool,
    /// So many seeds, and none on servers that are broken on purpose.
    #[arg(long, conflicts_with = "full")]
    seeds: Option<u64>,
    /// The first of them; the clock's choice if it is left out.
    #[arg(long)]
    seed: Option<u64>,
    /// Print all that happens in the first seed.
    #[arg(long)]
    history: bool,
    /// Break the server in this way. The run has to find it out then.
    #[arg(long)]
    control: Option<Control>,
}

#[derive(Clone, Debug, Args)]
struct ModelArgs {
    /// Larger worlds as well, for a quarter of an hour.
    #[arg(long)]
    full: bool,
    /// This protocol, broken on purpose, alone; tells how it breaks a promise.
    #[arg(long, conflicts_with = "full")]
    variant: Option<Variant>,
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
        Task::Chaos(args) => chaos(&args),
        Task::Model(args) => models::run(args.full, args.variant),
        Task::Sim(args) => simulate(&args),
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

fn chaos(args: &ChaosArgs) -> Result<bool> {
    let amount = match args.rounds {
        Some(rounds) => Amount::Rounds(rounds),
        None if args.full => Amount::Full,
        None => Amount::Quick,
    };
    let kinds = match &*args.kinds {
        [] => Kind::value_variants(),
        kinds => kinds,
    };
    let mut suite = Suite::start(args.seed)?;
    for kind in kinds {
        for (store, mode) in kind.variants() {
            let left_out = args.store.is_some_and(|only| only != store)
                || args.mode.is_some_and(|only| only != mode);
            if !left_out {
                suite.run(*kind, store, mode, amount, args.control)?;
            }
        }
    }
    suite.end()
}

fn simulate(args: &SimArgs) -> Result<bool> {
    let (seeds, broken_seeds) = if args.full {
        (20_000, 2_000)
    } else {
        (300, 60)
    };
    let mut suite = Suite::start(args.seed)?;
    if args.history {
        print!("{}", suite.history(args.control)?);
    }
    suite.simulate(args.seeds.unwrap_or(seeds), args.control)?;
    if args.control.is_none() && args.seeds.is_none() {
        let controls = Control::value_variants().iter();
        for control in controls.filter(|control| control.breaks_store()) {
            suite.simulate(broken_seeds, Some(*control))?;
        }
    }
    suite.end()
}

/// A seed for whoever names none.
fn any_seed() -> u64 {
    Clock::system().now().as_micros() % 1_000_000
}
