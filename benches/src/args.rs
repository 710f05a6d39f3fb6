use clap::{Parser, ValueEnum};

/// Measures the toolkit beside a floor: the same job done by hand.
///
/// Prints one table. Where a quality bar exists, it says whether the bar is met. Machines differ,
/// and so do their busy hours: trust the ratios, and run twice before you believe a surprise.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench --")]
pub(crate) struct Args {
    /// Fewer rounds: seconds instead of minutes, and rougher figures.
    #[arg(long)]
    quick: bool,

    /// What to measure; may be given more than once. Everything, if not given.
    #[arg(long, value_enum, value_name = "SECTION")]
    only: Vec<Section>,
}

/// A part of the measurements.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Section {
    /// The HTTP layer over each store, through sockets.
    Http,
    /// The store in this process's memory, and the near cache.
    Memory,
    /// The Redis store, on a server of its own.
    Redis,
    /// The store in a file of `SQLite`'s, on a disk.
    Sqlite,
    /// Rows and record in one transaction, in a file and on a PostgreSQL server of its own.
    Transactions,
    /// A recorded step, on each store.
    Steps,
    /// Messages that write a row each, beside a loop by hand.
    Consumer,
    /// First calls while a million expired records are purged, in a file and on a PostgreSQL server.
    Purge,
    /// What the attribute costs the compiler.
    Expansion,
}

impl Args {
    /// The sections to measure, in their order.
    pub(crate) fn sections(&self) -> impl Iterator<Item = Section> {
        Section::value_variants()
            .iter()
            .copied()
            .filter(|section| self.only.is_empty() || self.only.contains(section))
    }

    /// `full`, or a tenth of it if it has to be quick; not less than three.
    pub(crate) fn rounds(&self, full: usize) -> usize {
        let rounds = if self.quick { full / 10 } else { full };
        rounds.max(3)
    }
}
