//! Many rides, and processes that are killed at random.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use idempotency::BoxError;
use indicatif::ProgressBar;
use tokio::process::Child;
use tokio::time::sleep;

use crate::args::{Args, StoreChoice};
use crate::matrix::{Program, count};
use crate::payments::{Books, Charged};
use crate::ride::{Rows, Shop};

/// Two clients, and two completers.
const WORKERS: [&[&str]; 4] = [&["client"], &["client"], &["complete"], &["complete"]];

/// How long a charge takes: so long that a process seldom lives to the end of one.
const CHARGE_TIME: Duration = Duration::from_millis(200);
/// The longest time between two kills, in milliseconds.
const LONGEST: u64 = 150;

/// Books `rides` rides with processes of which `kills` are killed, and says what came of it.
pub(crate) async fn show<S: Shop>(
    args: &Args,
    store: &StoreChoice,
    shop: S,
    rides: u32,
    kills: u32,
) -> Result<bool, BoxError> {
    let books = Books::default();
    let program = Program::new(args, store, books.open(CHARGE_TIME).await?);
    let number = rides.to_string();
    let start = |worker: usize| -> Result<Child, BoxError> {
        let mut arguments = WORKERS[worker].to_vec();
        if worker < 2 {
            arguments.extend(["--rides", &number]);
        }
        Ok(program.command(&arguments)?.spawn()?)
    };
    let mut workers = (0..WORKERS.len())
        .map(start)
        .collect::<Result<Vec<_>, _>>()?;
    let progress = ProgressBar::new(kills.into()).with_message("kills");
    for kill in 0..kills {
        sleep(Duration::from_millis(20 + random(kill) % LONGEST)).await;
        let worker = usize::try_from(random(kill + 1_000_000))? % WORKERS.len();
        // A client that has booked all is started again, and finds everything booked.
        workers[worker].kill().await?;
        workers[worker] = start(worker)?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    for client in &mut workers[..2] {
        let status = client.wait().await?;
        if !status.success() {
            return Err(format!("a client failed: {status}").into());
        }
    }
    drop(workers);

    let receipts = count(&shop.send().await?);
    let (mut once, mut calls) = (0, 0);
    for ride in 0..rides {
        let Charged {
            charges,
            calls: asked,
        } = books.of(ride);
        calls += asked;
        let good = shop.rows(ride).await?
            == Rows {
                rides: 1,
                audits: 1,
            }
            && charges == 1
            && receipts.get(&ride) == Some(&1);
        once += u32::from(good);
    }
    println!(
        "{once} of {rides} rides were booked, charged and mailed once, on {store}: {kills} processes were \
         killed, and the payment provider was asked {calls} times."
    );
    Ok(once == rides)
}

fn random(number: u32) -> u64 {
    RandomState::new().hash_one(number)
}
