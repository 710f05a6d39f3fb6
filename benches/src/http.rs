//! The HTTP layer over each store, beside the same handler without it, through sockets.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::routing::post;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use idempotency::http::{IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED, IdempotencyLayer};
use idempotency::redis::RedisStore;
use idempotency::sqlite::SqliteStore;
use idempotency::{Engine, MemoryStore};
use idempotent_testkit::server::RedisServer;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::args::Args;
use crate::clock::Stopwatch;
use crate::orders::{receipt_text, threads};
use crate::progress::Progress;
use crate::rounds::{Pair, count};
use crate::table::{Bar, Row, Table, Unit};

const RESULT_BYTES: usize = 200;
/// Connections at a time, and the requests of a round.
const LOADS: [(usize, usize); 2] = [(1, 200), (16, 1_600)];

pub(crate) fn measure(args: &Args, progress: &Progress, table: &mut Table) -> Result<()> {
    // One thread serves and one asks, as on two machines with a core each.
    let (server, client) = (threads(1)?, threads(1)?);
    let text = receipt_text(RESULT_BYTES);
    let bare = serve(&server, text, None)?;
    let folder = tempfile::tempdir()?;
    let redis = RedisServer::start()?;
    let sqlite = folder.path().join("http.sqlite");
    let engines = [
        (&MEMORY, Engine::new(MemoryStore::new())),
        (&SQLITE, Engine::new(SqliteStore::open(&sqlite)?)),
        (
            &REDIS,
            Engine::new(server.block_on(RedisStore::connect(redis.url()))?),
        ),
    ];
    for (names, engine) in engines {
        let layered = serve(&server, text, Some(engine))?;
        for (connections, requests) in LOADS {
            let (mut first, mut replay) = (Rates::default(), Rates::default());
            for round in progress.rounds(names[0], args.rounds(20)) {
                let send = |address, replays| {
                    let wave = Wave {
                        address,
                        connections,
                        requests,
                        name: format!("{connections}-{round}"),
                        replays,
                        text,
                    };
                    client.block_on(wave.send())
                };
                let floor = send(bare, None)?;
                first.add(&floor, &send(layered, Some(false))?);
                replay.add(&floor, &send(layered, Some(true))?);
            }
            let (firsts, replays) = names.split_at(3);
            first.tell(firsts, connections, table);
            replay.tell(replays, connections, table);
        }
    }
    Ok(())
}

type Names = [&'static str; 6];

const MEMORY: Names = [
    "http, memory: first, requests",
    "http, memory: first, p50",
    "http, memory: first, p99",
    "http, memory: replay, requests",
    "http, memory: replay, p50",
    "http, memory: replay, p99",
];
const SQLITE: Names = [
    "http, sqlite: first, requests",
    "http, sqlite: first, p50",
    "http, sqlite: first, p99",
    "http, sqlite: replay, requests",
    "http, sqlite: replay, p50",
    "http, sqlite: replay, p99",
];
const REDIS: Names = [
    "http, redis: first, requests",
    "http, redis: first, p50",
    "http, redis: first, p99",
    "http, redis: replay, requests",
    "http, redis: replay, p50",
    "http, redis: replay, p99",
];

/// Serves orders on a port of its own, behind the layer if there is an engine.
fn serve(runtime: &Runtime, text: &'static str, engine: Option<Engine>) -> Result<SocketAddr> {
    let create = async move |body: Bytes| {
        let location = format!("/orders/{}", body.len());
        let headers = [
            (LOCATION, location),
            (CONTENT_TYPE, "text/plain".to_owned()),
        ];
        (StatusCode::CREATED, headers, text)
    };
    let mut router = Router::new().route("/orders", post(create));
    if let Some(engine) = engine {
        let layer = IdempotencyLayer::builder(engine).unscoped().build()?;
        router = router.route_layer(layer);
    }
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    runtime.spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

/// Some requests over some connections.
struct Wave {
    address: SocketAddr,
    connections: usize,
    requests: usize,
    /// What distinguishes its keys from another's.
    name: String,
    /// Whether the responses have to be replays; `None` if they have nothing to say about it.
    replays: Option<bool>,
    /// What the handler answers.
    text: &'static str,
}

/// How it went.
struct Taken {
    elapsed: Duration,
    /// How long each request took, the shortest first.
    each: Vec<Duration>,
}

impl Wave {
    async fn send(self) -> Result<Taken> {
        let each = self.requests / self.connections;
        let mut clients = Vec::new();
        for _ in 0..self.connections {
            clients.push(connect(self.address).await?);
        }
        let stopwatch = Stopwatch::start();
        let mut tasks = JoinSet::new();
        for (number, mut client) in clients.into_iter().enumerate() {
            let (name, replays, text) = (self.name.clone(), self.replays, self.text);
            tasks.spawn(async move {
                let mut times = Vec::with_capacity(each);
                for at in 0..each {
                    let stopwatch = Stopwatch::start();
                    let key = format!("{name}-{number}-{at}");
                    let body = order(&mut client, key, replays).await?;
                    times.push(stopwatch.elapsed());
                    ensure!(body == text, "not the handler's answer");
                }
                anyhow::Ok(times)
            });
        }
        let mut each = Vec::with_capacity(self.requests);
        while let Some(times) = tasks.join_next().await {
            each.extend(times??);
        }
        let elapsed = stopwatch.elapsed();
        each.sort_unstable();
        Ok(Taken { elapsed, each })
    }
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (client, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn order(
    client: &mut SendRequest<Full<Bytes>>,
    key: String,
    replays: Option<bool>,
) -> Result<Bytes> {
    let request = hyper::Request::post("/orders")
        .header("host", "bench")
        .header(IDEMPOTENCY_KEY, key)
        .body(Full::from(r#"{"item":"tea","quantity":3}"#))?;
    let response = client.send_request(request).await?;
    ensure!(
        response.status() == 201,
        "a status of {}",
        response.status()
    );
    let is_replayed = response.headers().contains_key(IDEMPOTENT_REPLAYED);
    ensure!(
        replays.is_none_or(|replays| replays == is_replayed),
        "a first response is a replay, or a replay is not"
    );
    Ok(response.into_body().collect().await?.to_bytes())
}

impl Taken {
    fn rate(&self) -> f64 {
        count(self.each.len()) / self.elapsed.as_secs_f64()
    }

    /// How long the request took that so many of a hundred were quicker than, in nanoseconds.
    fn percentile(&self, percent: usize) -> Result<f64> {
        let at = (self.each.len() * percent / 100).min(self.each.len().saturating_sub(1));
        let time = self.each.get(at).context("no requests")?;
        Ok(time.as_secs_f64() * 1e9)
    }
}

/// Requests in a second, and how long half of them and nearly all of them took.
#[derive(Default)]
struct Rates {
    rate: Pair,
    times: [Pair; 2],
}

impl Rates {
    fn add(&mut self, floor: &Taken, ours: &Taken) {
        self.rate.floor.add(floor.rate());
        self.rate.ours.add(ours.rate());
        for (pair, percent) in self.times.iter_mut().zip([50, 99]) {
            if let (Ok(floor), Ok(ours)) = (floor.percentile(percent), ours.percentile(percent)) {
                pair.floor.add(floor);
                pair.ours.add(ours);
            }
        }
    }

    fn tell(self, names: &[&'static str], connections: usize, table: &mut Table) {
        let [p50, p99] = self.times;
        let figures = [
            (Unit::Rate, self.rate),
            (Unit::Time, p50),
            (Unit::Time, p99),
        ];
        for (operation, (unit, figures)) in names.iter().zip(figures) {
            table.add(Row {
                operation,
                callers: connections,
                unit,
                figures,
                bar: Bar::None,
            });
        }
    }
}
