//! Creates orders from an at-least-once queue, each of them once.
//!
//! The queue delivers some orders twice, some twice at once, and one under the key of another. The
//! process may be killed at any point. In the end the orders file has one row for each order. What
//! sees to that is the attribute on [`order::create_order`]; the rest reads, retries and reports.

mod args;
mod crash;
mod deliver;
mod notes;
mod open;
mod order;
mod orders_file;
mod payments;
mod queue;
mod screen;
mod tally;
mod work;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use idempotency::BoxError;

use crate::args::Args;
use crate::queue::Queue;
use crate::screen::{Label, Screen, chain};

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("orders: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<ExitCode, BoxError> {
    let queue = Queue::open(args.file.as_deref())?;
    let shop = Arc::new(open::open(args).await?);
    let screen = Arc::new(Screen::new(queue.lines));
    let file = shop.orders.path().display();
    screen.say(format_args!(
        "{} -> {file}, remembered in {}\n",
        queue.name, args.store
    ));

    let (mut tally, stopped) = work::work(queue, &shop, &screen, args.workers.into()).await?;
    screen.finish();

    tally.look_up(&shop.orders.rows().await?);
    screen.say(format_args!("\n{}\n", tally.table()));
    let (once, all) = (tally.created_once(), tally.orders());
    screen.say(format_args!(
        "{once} of {all} orders have exactly one row in {file}."
    ));
    if once < all {
        screen.say("Do the file and the store belong together? `--fresh` starts over with both.");
        return Ok(ExitCode::FAILURE);
    }
    if stopped {
        screen.say("The rest is for the next run.");
    }
    Ok(match tally.count(Label::Refused) {
        _ if stopped => ExitCode::from(130),
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}
