//! Moves money between accounts, each transfer once.
//!
//! The ledger has no unique constraint: what keeps a transfer from happening twice is that the claim, the
//! two balances, the ledger's row and the result are one transaction. Each request is sent twice at
//! the same time, and again for as long as it fails; the program and its database may be killed at any
//! point. In the end, no money has come or gone, and each request has one row.

mod args;
mod bank;
#[cfg(feature = "postgres")]
mod postgres;
mod report;
mod requests;
mod sqlite;
mod work;

use std::process::ExitCode;

use clap::Parser;
use idempotency::BoxError;

use crate::args::Args;
use crate::bank::Bank;

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("transfer: {}", bank::chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Returns whether the books are in order.
async fn run(args: &Args) -> Result<bool, BoxError> {
    let bank = Bank::open(args).await?;
    let tally = work::work(&bank, args).await?;
    let books = bank.books().await?;
    println!("\n{}", report::table(&tally, &books));
    println!("{}", report::verdict(&tally, &books));
    Ok(report::is_good(&tally, &books))
}
