//! Consumers that are processes. To kill one is SIGKILL.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use idempotency::BoxError;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::args::Args;
use crate::brokers::Queue;
use crate::ledger::Ledger;
use crate::{POISONS, Report, messages};

/// How long consumers have to settle what they still hold, before all of them are killed.
const SETTLING: Duration = Duration::from_millis(500);
/// After which time nothing more is to be expected.
const PATIENCE: Duration = Duration::from_secs(300);

/// Is one of the consumers.
pub(crate) async fn consume<Q: Queue>(url: &str, path: &Path) -> Result<(), BoxError> {
    let ledger = Ledger::open(path)?;
    Q::connect(url).await?.consume(&ledger).await
}

pub(crate) async fn run<Q: Queue>(
    args: &Args,
    url: &str,
    ledger: &Ledger,
    path: &Path,
) -> Result<Report, BoxError> {
    let queue = Q::connect(url).await?;
    queue.prepare().await?;
    let published = publish(&queue, args.messages).await?;
    eprintln!(
        "{published} messages are published; {} consumers begin",
        args.consumers
    );
    let (mut kills, began) = (0, Instant::now());
    let mut consumers = Vec::new();
    let left = loop {
        for _ in consumers.len()..args.consumers {
            consumers.push(start(url, path)?);
        }
        // A broker that does not answer may be back before long, and so may the messages.
        while began.elapsed() < PATIENCE && !is_done(&queue, args, ledger).await.unwrap_or(false) {
            sleep(args.kill_every).await;
            let victim = kills % consumers.len();
            consumers[victim].kill().await?;
            consumers[victim] = start(url, path)?;
            kills += 1;
        }
        sleep(SETTLING).await;
        for mut consumer in consumers.drain(..) {
            consumer.kill().await?;
        }
        // What a consumer has not settled comes back, and is not always seen before.
        let left = queue.left_behind().await?;
        if left == 0 || began.elapsed() > PATIENCE {
            break left;
        }
    };
    Ok(Report {
        published,
        messages: args.messages,
        seen: None,
        kills,
        rows: ledger.rows()?,
        dead_letters: queue.dead().await?,
        left,
    })
}

/// Publishes each message twice: one after the other, if the broker takes both.
async fn publish<Q: Queue>(queue: &Q, count: u32) -> Result<usize, BoxError> {
    let all: Vec<_> = messages(count).collect();
    let Some(window) = Q::WINDOW else {
        for message in &all {
            queue.publish(message).await?;
        }
        return Ok(all.len());
    };
    for message in all.iter().step_by(2) {
        queue.publish(message).await?;
    }
    // The server looks for what is over now and then only.
    sleep(window * 5).await;
    for message in all.iter().skip(1).step_by(2) {
        queue.publish(message).await?;
    }
    Ok(all.len())
}

/// Whether there is nothing more to do, as far as can be seen while consumers hold messages.
async fn is_done<Q: Queue>(queue: &Q, args: &Args, ledger: &Ledger) -> Result<bool, BoxError> {
    Ok(ledger.rows()?.messages >= args.messages
        && queue.dead().await? >= POISONS
        && queue.left().await? == 0)
}

fn start(url: &str, path: &Path) -> Result<Child, BoxError> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--broker", url, "consume"]).arg(path);
    Ok(command.stdin(Stdio::null()).kill_on_drop(true).spawn()?)
}
