//! Consumers that are processes, of Redis Streams. To kill one is SIGKILL.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use idempotency::BoxError;
use idempotency::consumer::brokers::redis::RedisStream;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamInfoGroupsReply, StreamPendingReply};
use redis::{AsyncCommands, Client};
use tokio::process::{Child, Command};
use tokio::signal::ctrl_c;
use tokio::time::{Instant, sleep};

use crate::args::Args;
use crate::ledger::Ledger;
use crate::{POISONS, Report, messages, worker};

const STREAM: &str = "worker";
const GROUP: &str = "ledger";
const DEAD_LETTERS: &str = "worker:dead";
/// How long an entry stays with a consumer that is dead.
const VISIBILITY: Duration = Duration::from_secs(2);
/// After which time nothing more is to be expected.
const PATIENCE: Duration = Duration::from_secs(300);

fn stream(url: &str) -> Result<RedisStream, BoxError> {
    let stream = RedisStream::new(Client::open(url)?, STREAM, GROUP);
    Ok(stream.dead_letters(DEAD_LETTERS).visibility(VISIBILITY))
}

/// Is one of the consumers.
pub(crate) async fn consume(url: &str, ledger: &Ledger) -> Result<(), BoxError> {
    let shutdown = async { _ = ctrl_c().await };
    Ok(worker(ledger)?
        .run(stream(url)?.open().await?, shutdown)
        .await?)
}

pub(crate) async fn run(
    args: &Args,
    url: &str,
    ledger: &Ledger,
    path: &Path,
) -> Result<Report, BoxError> {
    let mut connection = Client::open(url)?
        .get_multiplexed_async_connection()
        .await?;
    connection.del::<_, ()>(&[STREAM, DEAD_LETTERS]).await?;
    let stream = stream(url)?;
    drop(stream.open().await?);
    let mut published = 0;
    for message in messages(args.messages) {
        stream.publish(&message).await?;
        published += 1;
    }
    let start = || start(url, path);
    let mut consumers = (0..args.consumers)
        .map(|_| start())
        .collect::<Result<Vec<_>, _>>()?;
    let (mut kills, began) = (0, Instant::now());
    while left(&mut connection).await? > 0 || dead(&mut connection).await? < POISONS {
        if began.elapsed() > PATIENCE {
            break;
        }
        sleep(args.kill_every).await;
        let victim = kills % consumers.len();
        consumers[victim].kill().await?;
        consumers[victim] = start()?;
        kills += 1;
    }
    Ok(Report {
        published,
        messages: args.messages,
        deliveries: None,
        kills,
        rows: ledger.rows()?,
        dead_letters: dead(&mut connection).await?,
        left: left(&mut connection).await?,
    })
}

fn start(url: &str, path: &Path) -> Result<Child, BoxError> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--broker", url, "consume"]).arg(path);
    Ok(command.stdin(Stdio::null()).kill_on_drop(true).spawn()?)
}

/// What was not delivered yet, and what was not acknowledged.
async fn left(connection: &mut MultiplexedConnection) -> Result<usize, BoxError> {
    let groups: StreamInfoGroupsReply = connection.xinfo_groups(STREAM).await?;
    let lag = groups
        .groups
        .first()
        .and_then(|group| group.lag)
        .unwrap_or_default();
    let pending: StreamPendingReply = connection.xpending(STREAM, GROUP).await?;
    Ok(lag
        + match pending {
            StreamPendingReply::Data(data) => data.count,
            _ => 0,
        })
}

async fn dead(connection: &mut MultiplexedConnection) -> Result<usize, BoxError> {
    Ok(connection.xlen(DEAD_LETTERS).await?)
}
