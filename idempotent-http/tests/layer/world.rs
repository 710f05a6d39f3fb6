//! A layer over a store in memory, a handler that counts its runs, and a client.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt, Full};
use idempotent_core::{Engine, MemoryStore};
use idempotent_http::{Body, Builder, IdempotencyLayer, Scope};
use idempotent_testkit::faults::{Faults, Op};
use tower::{Layer, Service, ServiceExt, service_fn};

pub(crate) type Incoming = Request<Body<Full<Bytes>>>;
pub(crate) type Outgoing = Response<Full<Bytes>>;

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) faults: Faults,
    pub(crate) runs: Runs,
}

/// How often a handler ran.
#[derive(Clone, Default)]
pub(crate) struct Runs(Arc<AtomicU32>);

impl Runs {
    /// Runs, and says the how manieth time it was.
    pub(crate) fn run(&self) -> u32 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A response as a client sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn is_replayed(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }

    /// The `code` of a problem.
    pub(crate) fn code(&self) -> String {
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        problem["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let faults = Faults::new();
        Self {
            engine: Engine::builder(faults.wrap(MemoryStore::new()))
                .record_patience(Duration::from_secs(2))
                .build(),
            faults,
            runs: Runs::default(),
        }
    }

    /// A layer whose callers are named by `x-caller`, or are all `somebody`.
    pub(crate) fn layer(&self) -> Builder {
        IdempotencyLayer::builder(self.engine.clone()).scope(|parts| {
            let caller = parts.headers.get("x-caller");
            Some(Scope::new(
                caller.map_or("somebody", |caller| caller.to_str().unwrap()),
            ))
        })
    }

    /// How often the store was asked anything.
    pub(crate) fn store_calls(&self) -> usize {
        [Op::Claim, Op::Complete, Op::Release, Op::Renew, Op::Watch]
            .map(|op| self.faults.count(op))
            .iter()
            .sum()
    }

    /// A service whose handler answers `run 1`, `run 2` and so on, with 201.
    pub(crate) fn counting(&self, layer: Builder) -> impl Client + use<> {
        self.serving(layer, async |_, run| {
            let response = Response::builder().status(201);
            response.body(Full::from(format!("run {run}"))).unwrap()
        })
    }

    /// A service with this handler, which is told the how manieth time it runs.
    pub(crate) fn serving<H, F>(&self, layer: Builder, handler: H) -> impl Client + use<H, F>
    where
        H: Fn(Incoming, u32) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Outgoing> + Send + 'static,
    {
        let runs = self.runs.clone();
        let inner = service_fn(move |request| {
            let response = handler(request, runs.run());
            async move { Ok::<_, Infallible>(response.await) }
        });
        layer.build().unwrap().layer(inner)
    }
}

/// Whatever takes requests with a whole body.
pub(crate) trait Client: Clone + Send + Sync + 'static {
    fn send(&self, request: Request<Full<Bytes>>) -> impl Future<Output = Reply> + Send;
}

impl<S, R> Client for S
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
    R: HttpBody<Data = Bytes, Error: std::fmt::Debug> + Send,
{
    async fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        let response = self.clone().oneshot(request).await.unwrap();
        reply(response).await
    }
}

pub(crate) async fn reply<R>(response: Response<R>) -> Reply
where
    R: HttpBody<Data = Bytes, Error: std::fmt::Debug> + Send,
{
    let (parts, body) = response.into_parts();
    let collected = body.collect().await.unwrap();
    Reply {
        status: parts.status,
        headers: parts.headers,
        trailers: collected.trailers().cloned(),
        body: collected.to_bytes(),
    }
}

/// An order with this key.
pub(crate) fn order(key: &str) -> Request<Full<Bytes>> {
    order_of(key, r#"{"item":"tea"}"#)
}

/// Another order.
pub(crate) fn order_of(key: &str, body: &'static str) -> Request<Full<Bytes>> {
    Request::post("/orders?express=1")
        .header("idempotency-key", key)
        .body(Full::from(body))
        .unwrap()
}
