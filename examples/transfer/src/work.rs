//! Sends each request twice at the same time, and again until it is answered.

use std::collections::HashMap;
use std::time::Duration;

use idempotency::BoxError;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::ctrl_c;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::args::Args;
use crate::bank::{Bank, Receipt, chain};
use crate::requests::Request;

/// The pause before a request that failed is sent again.
const PAUSE: Duration = Duration::from_millis(20);

/// What the clients got.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) executed: u64,
    pub(crate) replayed: u64,
    /// Tries that failed, each followed by another.
    pub(crate) failed: u64,
    /// How many requests got two different receipts.
    pub(crate) unequal: u64,
    receipts: HashMap<u64, Receipt>,
}

struct Answer {
    number: u64,
    receipt: Receipt,
    executed: bool,
    failed: u64,
}

pub(crate) async fn work(bank: &Bank, args: &Args) -> Result<Tally, BoxError> {
    let numbers = args.first..args.first + args.transfers;
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len}, {eta} left")?;
    let progress = ProgressBar::new(args.transfers * 2).with_style(style);
    let mut tally = Tally::default();
    let mut calls = JoinSet::new();
    let mut requests = numbers.flat_map(|number| [number, number]);
    loop {
        while calls.len() < usize::from(args.clients)
            && let Some(number) = requests.next()
        {
            calls.spawn(call(bank.clone(), number));
        }
        let answer = tokio::select! {
            answer = calls.join_next() => answer,
            _ = ctrl_c() => return Err("stopped; start it again, and it goes on".into()),
        };
        let Some(answer) = answer else { break };
        tally.add(&answer??);
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(tally)
}

/// One of the two clients of a request.
async fn call(bank: Bank, number: u64) -> Result<Answer, BoxError> {
    let mut failed = 0;
    loop {
        match bank.transfer(Request::new(number)).await {
            Ok(outcome) => {
                return Ok(Answer {
                    number,
                    executed: outcome.is_executed(),
                    receipt: outcome.into_value(),
                    failed,
                });
            }
            Err(error) if error.is_retryable() => failed += 1,
            Err(error) => return Err(chain(&error).into()),
        }
        sleep(PAUSE).await;
    }
}

impl Tally {
    fn add(&mut self, answer: &Answer) {
        self.executed += u64::from(answer.executed);
        self.replayed += u64::from(!answer.executed);
        self.failed += answer.failed;
        let first = self.receipts.entry(answer.number);
        let first = first.or_insert_with(|| answer.receipt.clone());
        self.unequal += u64::from(*first != answer.receipt);
    }
}
