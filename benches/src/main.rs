//! What idempotency costs: each operation beside a floor, the same job done by hand in this program.
//!
//! Floor and toolkit take turns, batch by batch, so that whatever else the machine does meets both
//! alike. Each figure is a median, and the ratios are worth more than the figures.

mod args;
mod clock;
mod consumer;
mod expansion;
mod http;
mod memory;
mod orders;
mod progress;
mod purge;
mod redis;
mod rounds;
mod sqlite;
mod steps;
mod table;
mod transactions;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use self::args::{Args, Section};
use self::progress::Progress;
use self::table::Table;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(table) => {
            println!("{table}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<Table> {
    let progress = Progress::new();
    let mut table = Table::default();
    for section in args.sections() {
        match section {
            Section::Http => http::measure(args, &progress, &mut table)?,
            Section::Memory => memory::measure(args, &progress, &mut table)?,
            Section::Redis => redis::measure(args, &progress, &mut table)?,
            Section::Sqlite => sqlite::measure(args, &progress, &mut table)?,
            Section::Transactions => transactions::measure(args, &progress, &mut table)?,
            Section::Steps => steps::measure(args, &progress, &mut table)?,
            Section::Consumer => consumer::measure(args, &progress, &mut table)?,
            Section::Purge => purge::measure(args, &progress, &mut table)?,
            Section::Expansion => expansion::measure(args, &progress, &mut table)?,
        }
    }
    Ok(table)
}
