//! A request whose key, query and body are anything: it is handled once or not at all, and its retry is
//! answered as it was.

#![no_main]

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use idempotent_core::{Engine, MemoryStore};
use idempotent_http::{
    Body, Builder, IdempotencyLayer, KeySource, KeySyntax, MissingKey, RequestFingerprint, Scope,
};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;
use tower::{Layer, ServiceExt, service_fn};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    lines: Vec<&'a [u8]>,
    caller: &'a str,
    body: &'a [u8],
    response: &'a [u8],
    header: &'a [u8],
    source: u8,
    is_strict: bool,
    is_json: bool,
}

thread_local! {
    static RUNTIME: Rc<Runtime> = Rc::new(
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime"),
    );
}

fuzz_target!(|input: Input<'_>| {
    let runtime = RUNTIME.with(Rc::clone);
    runtime.block_on(check(&input));
});

async fn check(input: &Input<'_>) {
    let Ok(header) = HeaderValue::from_bytes(input.header) else {
        return;
    };
    let runs = Arc::new(AtomicU32::new(0));
    let handler = {
        let (runs, response) = (Arc::clone(&runs), Bytes::copy_from_slice(input.response));
        service_fn(move |_: Request<Body<Full<Bytes>>>| {
            runs.fetch_add(1, Ordering::SeqCst);
            let response = Response::builder()
                .status(201)
                .header("x-odd", header.clone())
                .body(Full::from(response.clone()));
            async move { Ok::<_, Infallible>(response.expect("a response")) }
        })
    };
    let service = layer(input).layer(handler);
    let mut replies = Vec::new();
    for _ in 0..2 {
        let mut request =
            Request::post("/orders?key=k").body(Full::<Bytes>::from(input.body.to_vec()));
        let request = request.as_mut().expect("a request");
        for line in &input.lines {
            if let Ok(line) = HeaderValue::from_bytes(line) {
                request.headers_mut().append("idempotency-key", line);
            }
        }
        let Ok(response) = service.clone().oneshot(request.clone()).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        replies.push((parts, body));
    }
    let [(first, first_body), (second, second_body)] = &replies[..] else {
        unreachable!("two were sent");
    };
    assert_eq!(first.status, second.status);
    if first.status == 201 {
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        assert_eq!(first_body, second_body);
        assert_eq!(first.headers["x-odd"], second.headers["x-odd"]);
        assert_eq!(second.headers["idempotent-replayed"], "true");
    } else {
        assert!(
            matches!(first.status.as_u16(), 400 | 500),
            "{}",
            first.status
        );
        assert_eq!(runs.load(Ordering::SeqCst), 0);
    }
}

fn layer(input: &Input<'_>) -> IdempotencyLayer {
    let caller = input.caller.to_owned();
    let mut layer: Builder = IdempotencyLayer::builder(Engine::new(MemoryStore::new()))
        .scope(move |_| Some(Scope::new(caller.clone())))
        .on_missing_key(MissingKey::Refuse)
        .render(|error: &idempotent_http::HttpError| {
            let mut response = Response::new(Bytes::from(error.to_string()));
            *response.status_mut() = error.status();
            response
        });
    if input.is_strict {
        layer = layer.key_syntax(KeySyntax::Strict);
    }
    if input.is_json {
        layer = layer.fingerprint(RequestFingerprint::json().without("/sent_at/0"));
    }
    match input.source % 4 {
        0 => layer = layer.key_source(KeySource::json_pointer("/key")),
        1 => layer = layer.key_source(KeySource::query("key")),
        _ => {}
    }
    layer.build().expect("a layer")
}
