//! What a call costs the server and the client, beside a floor that promises almost nothing.
//!
//! The floor claims by `SET NX GET PX`, and completes by a script that compares and sets. It has no
//! fingerprints, leases, fences, waiters or steps. Both run in one process, over the same kind of
//! connection to one server, on the same keys, round after round. The server's time is measured
//! with claims and completions apart, because the command that claims is also called by the script
//! that completes.
//!
//! ```text
//! cargo run --release --package idempotent-redis --example cost -- [rounds] [calls]
//! ```
//!
//! It needs an installed `redis-server`.

#![cfg(unix)]

use std::env;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use idempotent_core::protocol::{Claim, ClaimRequest, Completion, Grant, Update};
use idempotent_core::{CodecId, Fingerprint, Key, Owner, Payload, Store};
use idempotent_redis::RedisStore;
use idempotent_redis::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use idempotent_redis::redis::{Client, Script, Value, cmd};
use idempotent_testkit::server::RedisServer;
use tokio::task::JoinSet;
use tokio::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const LEASE: Duration = Duration::from_secs(30);
const TTL: Duration = Duration::from_secs(24 * 60 * 60);
const RESULT: &[u8] = &[b'x'; 200];
const FLOOR: &str = "
local is = redis.call('GET', KEYS[1])
if is == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) return 1 end
return 0";

/// One of the two.
#[derive(Clone)]
enum Subject {
    Floor {
        connection: ConnectionManager,
        script: Arc<Script>,
    },
    Store(RedisStore),
}

/// What a claim has found.
enum Found {
    Grant(Box<Grant>),
    Nothing,
    Result(usize),
}

impl Subject {
    async fn claim(&mut self, key: &Key, owner: Owner) -> Outcome<Found> {
        match self {
            Self::Floor { connection, .. } => {
                let found: Value = cmd("SET")
                    .arg(redis_key(key))
                    .arg(format!("P{owner}"))
                    .arg("NX")
                    .arg("GET")
                    .arg("PX")
                    .arg(90_000_000)
                    .query_async(connection)
                    .await?;
                match found {
                    Value::Nil => Ok(Found::Nothing),
                    Value::BulkString(found) => Ok(Found::Result(found.len() - 33)),
                    _ => Err("not a record".into()),
                }
            }
            Self::Store(store) => {
                let request = ClaimRequest::new(owner, Fingerprint::EMPTY, LEASE, TTL);
                match store.claim(key, &request).await? {
                    Claim::Done(recorded) => Ok(Found::Result(recorded.payload.bytes.len())),
                    Claim::Granted(grant) => Ok(Found::Grant(Box::new(grant))),
                    claim => Err(format!("neither granted nor done: {claim:?}").into()),
                }
            }
        }
    }

    async fn complete(&mut self, key: &Key, owner: Owner, found: Found) -> Outcome<()> {
        match (self, found) {
            (Self::Floor { connection, script }, Found::Nothing) => {
                let mut finished = format!("C{owner}").into_bytes();
                finished.extend_from_slice(RESULT);
                let mut completion = script.key(redis_key(key));
                completion
                    .arg(format!("P{owner}"))
                    .arg(finished)
                    .arg(86_400_000);
                assert_eq!(completion.invoke_async::<i64>(connection).await?, 1);
            }
            (Self::Store(store), Found::Grant(grant)) => {
                let payload = Payload {
                    codec: CodecId::JSON,
                    bytes: RESULT.into(),
                };
                let update = store
                    .complete(key, &grant, &Completion::value(payload, TTL))
                    .await?;
                assert_eq!(update, Update::Applied);
            }
            _ => return Err("not granted".into()),
        }
        Ok(())
    }

    async fn first_call(&mut self, key: &Key) -> Outcome<()> {
        let owner = Owner::random()?;
        let found = self.claim(key, owner).await?;
        self.complete(key, owner, found).await
    }

    async fn replay(&mut self, key: &Key) -> Outcome<()> {
        match self.claim(key, Owner::random()?).await? {
            Found::Result(length) if length == RESULT.len() => Ok(()),
            _ => Err("not replayed".into()),
        }
    }
}

fn key(call: usize) -> Outcome<Key> {
    Ok(Key::new("orders.create", &format!("customer-7/{call:08}"))?)
}

fn redis_key(key: &Key) -> String {
    ["idempotency:", key.as_str()].concat()
}

/// What one round has shown.
#[derive(Clone, Copy, Default)]
struct Measured {
    claim: f64,
    complete: f64,
    replay: f64,
    first_calls: f64,
    replays: f64,
}

#[derive(Clone, Copy)]
enum Kind {
    Claim,
    FirstCall,
    Replay,
}

/// Makes `calls` calls in as many tasks as there are callers. Returns calls per second.
async fn drive(subject: &Subject, calls: usize, callers: usize, kind: Kind) -> Outcome<f64> {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let mut subject = subject.clone();
        tasks.spawn(async move {
            for call in (caller..calls).step_by(callers) {
                let key = key(call)?;
                match kind {
                    Kind::Claim => _ = subject.claim(&key, Owner::random()?).await?,
                    Kind::FirstCall => subject.first_call(&key).await?,
                    Kind::Replay => subject.replay(&key).await?,
                }
            }
            Outcome::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    #[expect(clippy::cast_precision_loss, reason = "a number of calls")]
    Ok(calls as f64 / started.elapsed().as_secs_f64())
}

async fn round(
    server: &RedisServer,
    subject: &Subject,
    calls: usize,
    callers: usize,
) -> Outcome<Measured> {
    server.ask(&["FLUSHALL", "SYNC"])?;
    server.reset_command_stats()?;
    drive(subject, calls, callers, Kind::Claim).await?;
    let claim = micros_per_call(server, "set")?;

    server.ask(&["FLUSHALL", "SYNC"])?;
    server.reset_command_stats()?;
    let first_calls = drive(subject, calls, callers, Kind::FirstCall).await?;
    let complete = micros_per_call(server, "evalsha")?;

    server.reset_command_stats()?;
    let replays = drive(subject, calls, callers, Kind::Replay).await?;
    let replay = micros_per_call(server, "set")?;
    Ok(Measured {
        claim,
        complete,
        replay,
        first_calls,
        replays,
    })
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of one round")]
fn micros_per_call(server: &RedisServer, command: &str) -> Outcome<f64> {
    let stats = server.command_stats()?;
    let cost = stats.get(command).ok_or("never called")?;
    Ok(cost.micros as f64 / cost.calls as f64)
}

fn median(rounds: &[Measured], field: fn(&Measured) -> f64) -> f64 {
    let mut values: Vec<_> = rounds.iter().map(field).collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = env::args().skip(1).map(|argument| argument.parse());
    let rounds = arguments.next().transpose()?.unwrap_or(7);
    let calls = arguments.next().transpose()?.unwrap_or(20_000);
    let server = RedisServer::start()?;
    let config = ConnectionManagerConfig::new()
        .set_response_timeout(Some(Duration::from_secs(2)))
        .set_pipeline_buffer_size(4_096);
    let client = Client::open(server.url())?;
    let subjects = [
        Subject::Floor {
            connection: ConnectionManager::new_with_config(client, config).await?,
            script: Arc::new(Script::new(FLOOR)),
        },
        Subject::Store(RedisStore::connect(server.url()).await?),
    ];
    for callers in [1, 64] {
        let calls = if callers == 1 { calls / 4 } else { calls };
        let mut measured = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (subject, measured) in subjects.iter().zip(&mut measured) {
                measured.push(round(&server, subject, calls, callers).await?);
            }
        }
        report(callers, &measured);
    }
    Ok(())
}

fn report(callers: usize, measured: &[Vec<Measured>; 2]) {
    println!(
        "{callers} callers      claim  complete  first call     replay   first calls/s      replays/s"
    );
    let columns: [fn(&Measured) -> f64; 6] = [
        |it| it.claim,
        |it| it.complete,
        |it| it.claim + it.complete,
        |it| it.replay,
        |it| it.first_calls,
        |it| it.replays,
    ];
    let table = measured
        .each_ref()
        .map(|rounds| columns.map(|column| median(rounds, column)));
    for (name, [claim, complete, first, replay, first_calls, replays]) in
        ["floor", "store"].into_iter().zip(table)
    {
        println!(
            "{name:>9}    {claim:>7.2} {complete:>9.2} {first:>11.2} {replay:>10.2} \
             {first_calls:>15.0} {replays:>14.0}"
        );
    }
    let ratio = |column: usize| table[1][column] / table[0][column];
    println!(
        "    ratio                             {:.2}x      {:.2}x           {:.2}x          {:.2}x\n",
        ratio(2),
        ratio(3),
        ratio(4),
        ratio(5)
    );
}
