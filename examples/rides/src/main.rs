//! Books rides: the row of the ride, the charge of the card, the receipt, each a recovery point.
//!
//! Without arguments, the program calls itself once for each point at which a booking can die, lets it
//! die there by SIGKILL, recovers in three ways - a retry at once, a retry after the lease, and a completer
//! where no client ever comes back - and counts: rows, charges, receipts and answers. Each has to be one.

mod args;
mod crash;
mod matrix;
mod payments;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod ride;
mod soak;
mod sqlite;
mod worker;

use std::process::ExitCode;

use clap::Parser;
use idempotency::BoxError;

use crate::args::{Args, Role, StoreChoice};
use crate::ride::Shop;
use crate::sqlite::SqliteShop;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("rides: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Returns whether each ride was booked, charged and mailed once.
async fn run(args: &Args) -> Result<bool, BoxError> {
    let Some(store) = &args.store else {
        let folder = tempfile::tempdir()?;
        let store = StoreChoice::Sqlite(folder.path().join("rides.sqlite"));
        let shop = SqliteShop::open(&folder.path().join("rides.sqlite"))?;
        return act(args, &store, shop).await;
    };
    match store {
        StoreChoice::Sqlite(path) => act(args, store, SqliteShop::open(path)?).await,
        #[cfg(feature = "postgres")]
        StoreChoice::Postgres(url) => {
            act(args, store, postgres::PostgresShop::open(url).await?).await
        }
        #[cfg(feature = "redis")]
        StoreChoice::Redis(url) => {
            act(args, store, redis::RedisShop::open(url, &args.rows).await?).await
        }
        #[cfg(not(all(feature = "postgres", feature = "redis")))]
        _ => Err(format!("{store} is not built in; build with `--all-features`").into()),
    }
}

async fn act<S: Shop>(args: &Args, store: &StoreChoice, shop: S) -> Result<bool, BoxError> {
    match args.role {
        None => matrix::show(args, store, shop).await,
        Some(Role::Soak { rides, kills }) => soak::show(args, store, shop, rides, kills).await,
        Some(Role::Book { id, crash_at }) => worker::book(args, shop, id, crash_at).await,
        Some(Role::Client { rides }) => worker::client(args, shop, rides).await,
        Some(Role::Complete { once }) => worker::complete(args, shop, once).await,
    }
}

/// An error and all that it came of.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
