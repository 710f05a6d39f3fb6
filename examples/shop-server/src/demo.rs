//! What a client sees, from the first order to a bad key.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Request, Response};
use clap::Parser;
use http_body_util::BodyExt;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use idempotency::BoxError;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::args::Args;
use crate::serve;

pub(crate) async fn run() -> Result<(), BoxError> {
    let folder = tempfile::tempdir()?;
    let data = format!("--data={}", folder.path().display());
    let args = [
        "shop-server",
        "--listen=127.0.0.1:0",
        "--store=memory",
        &data,
    ];
    let server = serve::bind(&Args::try_parse_from(args)?).await?;
    let shop = Shop(server.address());
    let (end, told_to_end) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.run(async { _ = told_to_end.await }));

    shop.tell("a first order", order("k1", TEA, &[])?).await?;
    shop.tell("the same again", order("k1", TEA, &[])?).await?;
    shop.tell("another, with its key", order("k1", COFFEE, &[])?)
        .await?;
    let slow = order("k2", TEA, &[("x-test-delay-ms", "500")])?;
    let slow = tokio::spawn(shop.send(slow));
    sleep(Duration::from_millis(200)).await;
    shop.tell("a retry while the first runs", order("k2", TEA, &[])?)
        .await?;
    slow.await??;
    shop.tell("and when it has ended", order("k2", TEA, &[])?)
        .await?;
    let hasty = order("k3", TEA, &[("x-test-delay-ms", "500")])?;
    let left = timeout(Duration::from_millis(200), shop.send(hasty)).await;
    println!(
        "{:<30} {}",
        "a client that leaves",
        if left.is_err() { "gone" } else { "answered" }
    );
    sleep(Duration::from_millis(500)).await;
    shop.tell("and comes back", order("k3", TEA, &[])?).await?;
    shop.tell("two keys in one header", order("k4,k5", TEA, &[])?)
        .await?;
    shop.tell(
        "another caller, the same key",
        order("k1", TEA, &[("x-tenant", "bob")])?,
    )
    .await?;
    let count = Request::get("/__orders").body(Body::empty())?;
    shop.tell("orders of the first caller", count).await?;

    _ = end.send(());
    serving.await?
}

const TEA: &str = r#"{"item":"tea"}"#;
const COFFEE: &str = r#"{"item":"coffee"}"#;

fn order(
    key: &str,
    body: &'static str,
    headers: &[(&str, &str)],
) -> Result<Request<Body>, axum::http::Error> {
    let mut request = Request::post("/api").header("idempotency-key", key);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body))
}

/// A shop, as its clients know it.
#[derive(Clone, Copy)]
struct Shop(SocketAddr);

impl Shop {
    /// Sends a request over a connection of its own, which breaks if this is dropped.
    async fn send(self, mut request: Request<Body>) -> Result<Response<Bytes>, BoxError> {
        let stream = TcpStream::connect(self.0).await?;
        let (mut client, connection) = handshake(TokioIo::new(stream)).await?;
        request
            .headers_mut()
            .insert("host", HeaderValue::from_static("shop"));
        let answer = async {
            let (parts, body) = client.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Response::from_parts(parts, body))
        };
        tokio::select! {
            answer = answer => answer,
            broken = connection => Err(match broken {
                Ok(()) => "the shop has closed the connection".into(),
                Err(error) => error.into(),
            }),
        }
    }

    /// Sends a request, and tells what came back.
    async fn tell(self, what: &str, request: Request<Body>) -> Result<(), BoxError> {
        let response = self.send(request).await?;
        let is_replayed = response.headers().contains_key("idempotent-replayed");
        let mark = if is_replayed { "replayed " } else { "" };
        println!(
            "{what:<30} {} {mark}{}",
            response.status().as_u16(),
            told(response.body())
        );
        Ok(())
    }
}

/// An order or a number of orders, or what is the matter.
fn told(body: &Bytes) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    text("detail")
        .or_else(|| text("id"))
        .or_else(|| Some(body["count"].to_string()))
        .unwrap_or_default()
}
