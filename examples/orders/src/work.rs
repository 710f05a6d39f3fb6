//! The work: take deliveries, some at a time, until there are no more or somebody stops it.

use std::io;
use std::pin::pin;
use std::process;
use std::sync::Arc;

use tokio::signal::ctrl_c;
use tokio::task::{JoinError, JoinSet};

use crate::deliver::{Delivered, deliver};
use crate::order::Shop;
use crate::queue::Queue;
use crate::screen::Screen;
use crate::tally::Tally;

/// Works through `queue`. Tells also whether it was stopped before the end.
pub(crate) async fn work(
    mut queue: Queue,
    shop: &Arc<Shop>,
    screen: &Arc<Screen>,
    workers: usize,
) -> io::Result<(Tally, bool)> {
    let mut tally = Tally::default();
    let mut count = |delivered: Result<Delivered, JoinError>| {
        tally.add(delivered?);
        screen.advance();
        io::Result::Ok(())
    };
    let mut tasks = JoinSet::new();
    let mut interrupt = pin!(ctrl_c());
    let stopped = loop {
        tokio::select! {
            result = &mut interrupt => {
                result?;
                screen.say("stopping: what has begun is finished; Ctrl-C again to kill it");
                tokio::spawn(kill_when_asked_again());
                break true;
            }
            Some(delivered) = tasks.join_next() => count(delivered)?,
            delivery = queue.next(), if tasks.len() < workers => {
                let Some(delivery) = delivery.transpose()? else { break false };
                let (shop, screen) = (Arc::clone(shop), Arc::clone(screen));
                tasks.spawn(async move { deliver(&shop, &screen, delivery).await });
            }
        }
    };
    while let Some(delivered) = tasks.join_next().await {
        count(delivered)?;
    }
    Ok((tally, stopped))
}

async fn kill_when_asked_again() {
    if ctrl_c().await.is_ok() {
        process::exit(130);
    }
}
