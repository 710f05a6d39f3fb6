//! What a run is to do.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::control::Control;

/// Which store.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[non_exhaustive]
pub enum StoreKind {
    /// The memory of one process.
    Memory,
    /// A `PostgreSQL` server.
    Postgres,
    /// A Redis server.
    Redis,
    /// A `SQLite` file.
    Sqlite,
}

impl StoreKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Sqlite => "sqlite",
        }
    }

    /// Whether an operation's own rows can be committed with its record.
    pub(crate) const fn has_transactions(self) -> bool {
        match self {
            Self::Memory | Self::Redis => false,
            Self::Postgres | Self::Sqlite => true,
        }
    }

    /// Whether processes reach it over a connection.
    pub(crate) const fn has_server(self) -> bool {
        match self {
            Self::Memory | Self::Sqlite => false,
            Self::Postgres | Self::Redis => true,
        }
    }
}

/// What becomes of an attempt that falls silent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mode {
    /// Its key is in doubt: at most one effect.
    InDoubt,
    /// The next caller runs again.
    Rerun,
}

impl Mode {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::InDoubt => "in_doubt",
            Self::Rerun => "rerun",
        }
    }
}

/// What an effect of the functions under test is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum Effects {
    /// A line of a file, which nothing undoes.
    #[default]
    Lines,
    /// A row of the database that keeps the records, committed with its record.
    Rows,
}

impl Effects {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Rows => "rows",
        }
    }
}

/// One run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Setup {
    /// The program whose hidden subcommands are the workers and the guard.
    pub program: PathBuf,
    /// On which store.
    pub store: StoreKind,
    /// What becomes of an attempt that falls silent.
    pub mode: Mode,
    /// How many rounds.
    pub rounds: u64,
    /// What the rounds are drawn from.
    pub seed: u64,
    /// How to break the store on purpose.
    pub control: Option<Control>,
    /// Whether a write waits until a replica has it.
    pub replicated: bool,
    /// Whether to show how far it is.
    pub progress: bool,
}

impl Setup {
    /// A run of `rounds` on `store`, drawn from `seed`, whose workers are `program`.
    pub fn new(program: impl Into<PathBuf>, store: StoreKind, rounds: u64, seed: u64) -> Self {
        Self {
            program: program.into(),
            store,
            mode: Mode::Rerun,
            rounds,
            seed,
            control: None,
            replicated: false,
            progress: false,
        }
    }

    /// What becomes of an attempt that falls silent.
    #[must_use]
    pub const fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// How to break the store on purpose.
    #[must_use]
    pub const fn control(mut self, control: Option<Control>) -> Self {
        self.control = control;
        self
    }

    /// Whether a write waits until a replica has it.
    #[must_use]
    pub const fn replicated(mut self, replicated: bool) -> Self {
        self.replicated = replicated;
        self
    }

    /// Whether to show how far it is.
    #[must_use]
    pub const fn progress(mut self, progress: bool) -> Self {
        self.progress = progress;
        self
    }

    /// On what, in words.
    pub(crate) fn on(&self) -> String {
        let mut on = format!("{} {}", self.store.name(), self.mode.name());
        if self.replicated {
            on.push_str(" WAIT");
        }
        if let Some(control) = self.control {
            on = format!("{on} {control:?}");
        }
        on
    }

    /// The command that plans the same rounds again.
    pub(crate) fn again(&self, kind: &str) -> String {
        let Self { rounds, seed, .. } = self;
        let (store, mode) = (self.store.name(), self.mode.name());
        let control = self.control.map_or_else(String::new, |control| {
            format!(" --control {}", control.name())
        });
        format!(
            "cargo run --release -p verification -- chaos {kind} --store {store} --mode {mode} \
             --rounds {rounds} --seed {seed}{control}"
        )
    }
}
