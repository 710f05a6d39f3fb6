//! Servers that answer anything: the store gives an answer or an error, and grants nothing that
//! the server has not.

#![no_main]

#[path = "../../idempotent-redis/src/text.rs"]
#[rustfmt::skip]
#[expect(dead_code, reason = "only what writes a record is needed")]
mod text;

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use idempotent_core::protocol::{
    Claim, ClaimRequest, Completion, Grant, Release, ReleaseMode, Update,
};
use idempotent_core::{Ending, Inspect, Key, Query, Step, Store};
use idempotent_fuzz::records;
use idempotent_redis::RedisStore;
use libfuzzer_sys::arbitrary::{self, Arbitrary, Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use redis::aio::ConnectionLike;
use redis::{Arg, Cmd, ErrorKind, Pipeline, RedisFuture, RedisResult, Value};
use tokio::runtime::{Builder, Runtime};

const LEASE: Duration = Duration::from_secs(30);

/// What a script can answer with, and letters that none does.
const LETTERS: &[u8; 13] = b"ABDEGHIKLMPRX";

thread_local! {
    static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
}

fuzz_target!(|bytes: &[u8]| {
    let mut u = Unstructured::new(bytes);
    let Ok(call) = u.arbitrary::<Call>() else {
        return;
    };
    let server = Server::new(&mut u);
    RUNTIME.with(|runtime| {
        let runtime = runtime.get_or_init(|| {
            Builder::new_current_thread()
                .enable_time()
                .build()
                .expect("a runtime")
        });
        runtime.block_on(call.run(server));
    });
});

#[derive(Arbitrary, Debug)]
enum Call {
    Claim {
        wait: bool,
    },
    Complete,
    Delete,
    Get,
    List {
        after: Option<String>,
        scope: Option<String>,
    },
    Release {
        mode: u8,
        with_fence: bool,
    },
    Renew,
    Server,
    Statistics,
    Step,
}

impl Call {
    async fn run(self, server: Server) {
        let store = RedisStore::new(server.clone());
        let key = Key::new("orders.create", "7").expect("a key");
        let grant = granted();
        match self {
            Self::Claim { wait } => {
                let mut request = request();
                request.wait = wait;
                if let Ok(Claim::Granted(grant)) = store.claim(&key, &request).await {
                    assert!(server.granted() || grant.owner == request.owner);
                    assert_eq!(grant.ttl, request.ttl);
                }
            }
            Self::Complete => {
                let completion = Completion::value(Default::default(), LEASE);
                if let Ok(update) = store.complete(&key, &grant, &completion).await {
                    assert!(update != Update::Applied || server.has_said(b"K"));
                }
            }
            Self::Delete => _ = store.delete(&key).await,
            Self::Get => _ = store.get(&key).await,
            Self::List { after, scope } => {
                let mut query = Query::all();
                (query.after, query.scope) = (after, scope);
                if let Ok(page) = store.list(&query).await {
                    assert!(page.entries.len() <= query.limit);
                }
            }
            Self::Release { mode, with_fence } => {
                let mode = [ReleaseMode::Free, ReleaseMode::Hold, ReleaseMode::Note]
                    [usize::from(mode % 3)];
                let mut holder = grant.holder();
                holder.fence = holder.fence.filter(|_| with_fence);
                let release = Release::new(Ending::Error, mode);
                _ = store.release(&key, &holder, release).await;
            }
            Self::Renew => _ = store.renew(&key, &grant, LEASE).await,
            Self::Server => {
                if let Ok(server) = store.server().await {
                    _ = server.check();
                }
            }
            Self::Statistics => _ = store.statistics().await,
            Self::Step => {
                let step = Step {
                    name: "charge".into(),
                    value: "1".into(),
                };
                _ = store.record_step(&key, &grant, &step, LEASE).await;
            }
        }
    }
}

fn request() -> ClaimRequest {
    let owner = "7".repeat(32).parse().expect("an owner");
    let fingerprint = "9".repeat(64).parse().expect("a fingerprint");
    ClaimRequest::new(owner, fingerprint, LEASE, LEASE * 10)
}

fn granted() -> Grant {
    let request = request();
    let mut record = None;
    let now = idempotent_core::Timestamp::from_micros(1_700_000_000_000_000);
    let claim = idempotent_core::protocol::Operation::Claim(request);
    match idempotent_core::protocol::apply(&mut record, &claim, now) {
        idempotent_core::protocol::Reply::Claim(Claim::Granted(grant)) => grant,
        reply => panic!("{reply:?}"),
    }
}

/// Answers whatever it is asked with the next of its replies, and with its time if it is asked that.
#[derive(Clone)]
struct Server(Arc<Mutex<Replies>>);

struct Replies {
    time: Value,
    next: VecDeque<RedisResult<Value>>,
    said: Vec<Value>,
}

impl Server {
    fn new(u: &mut Unstructured<'_>) -> Self {
        let number = |u: &mut Unstructured<'_>| -> Result<_> {
            let number: u64 = u.arbitrary()?;
            Ok(Value::BulkString(number.to_string().into_bytes()))
        };
        let time = match (number(u), number(u)) {
            (Ok(seconds), Ok(micros)) => Value::Array(vec![seconds, micros]),
            _ => Value::Nil,
        };
        let mut next = VecDeque::new();
        while !u.is_empty() {
            next.extend(reply(u).ok());
        }
        let said = Vec::new();
        Self(Arc::new(Mutex::new(Replies { time, next, said })))
    }

    fn answer(&self, command: &Cmd) -> RedisResult<Value> {
        let mut replies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(command.args_iter().next(), Some(Arg::Simple(b"TIME"))) {
            return Ok(replies.time.clone());
        }
        let lost = || Err((ErrorKind::Io, "the connection is lost").into());
        let reply = replies.next.pop_front().unwrap_or_else(lost);
        replies.said.extend(reply.clone().ok());
        reply
    }

    fn has_said(&self, text: &[u8]) -> bool {
        let replies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut said = replies.said.iter();
        said.any(|said| matches!(said, Value::BulkString(said) if said.starts_with(text)))
    }

    /// Whether it has granted a claim under an owner of its own choice.
    fn granted(&self) -> bool {
        self.has_said(b"G")
    }
}

impl ConnectionLike for Server {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(ready(self.answer(command)))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        _offset: usize,
        _count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let answers = pipeline
            .cmd_iter()
            .map(|command| self.answer(command))
            .collect();
        Box::pin(ready(answers))
    }

    fn get_db(&self) -> i64 {
        0
    }
}

fn reply(u: &mut Unstructured<'_>) -> Result<RedisResult<Value>> {
    Ok(match u.int_in_range(0..=15)? {
        0 => Err((ErrorKind::Io, "the connection is lost").into()),
        1 => Err((ErrorKind::Extension, "OOM").into()),
        _ => Ok(value(u, 3)?),
    })
}

fn value(u: &mut Unstructured<'_>, depth: usize) -> Result<Value> {
    Ok(match u.int_in_range(0..=10)? {
        0 => Value::Nil,
        1 => Value::Int(u.arbitrary()?),
        2 => Value::BulkString(u.arbitrary()?),
        3 => Value::SimpleString(u.arbitrary()?),
        4 => Value::BulkString(text::write(&records::record(u)?)),
        5 => {
            let mut text = vec![*u.choose(LETTERS)?];
            text.extend(text::write(&records::record(u)?));
            Value::BulkString(text)
        }
        6 => {
            let mut text = vec![*u.choose(LETTERS)?];
            text.extend(u.arbitrary::<Vec<u8>>()?);
            Value::BulkString(text)
        }
        7 => Value::BulkString(info(u)?.into_bytes()),
        8 if depth > 0 => Value::Array(values(u, depth)?),
        9 if depth > 0 => {
            let values = values(u, depth)?;
            Value::Map(
                values
                    .chunks_exact(2)
                    .map(|pair| (pair[0].clone(), pair[1].clone()))
                    .collect(),
            )
        }
        _ => Value::Okay,
    })
}

fn values(u: &mut Unstructured<'_>, depth: usize) -> Result<Vec<Value>> {
    let count = u.int_in_range(0..=4)?;
    (0..count).map(|_| value(u, depth - 1)).collect()
}

/// What `INFO` says, with any numbers.
fn info(u: &mut Unstructured<'_>) -> Result<String> {
    const FIELDS: [&str; 6] = [
        "aof_enabled",
        "connected_slaves",
        "evicted_keys",
        "maxmemory",
        "maxmemory_policy",
        "redis_version",
    ];
    let mut info = String::new();
    for field in FIELDS {
        let value: u64 = *u.choose(&[0, 1, 7, u64::MAX])?;
        info += &format!("{field}:{value}\r\n");
    }
    Ok(info)
}
