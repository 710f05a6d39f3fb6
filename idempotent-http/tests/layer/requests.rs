//! The body of a request.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use idempotent_http::Body;
use tower::{Layer, ServiceExt, service_fn};

use crate::world::{Client, World, order, reply};

type Frames = Vec<Result<Frame<Bytes>, io::Error>>;

/// A request whose body comes in these frames, after which it goes on for ever if `stalls`.
fn upload(
    frames: Frames,
    stalls: bool,
) -> Request<StreamBody<impl stream::Stream<Item = Result<Frame<Bytes>, io::Error>> + Unpin>> {
    use futures_util::StreamExt;

    let rest = if stalls {
        stream::pending().left_stream()
    } else {
        stream::empty().right_stream()
    };
    Request::post("/orders")
        .header("idempotency-key", "k")
        .body(StreamBody::new(stream::iter(frames).chain(rest)))
        .unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "beside it there are errors")]
fn data(text: &'static str) -> Result<Frame<Bytes>, io::Error> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

/// H-25: by its declared length, by what it says of itself, and by what comes.
#[tokio::test]
async fn a_body_that_is_too_large_is_refused_and_never_let_through() {
    let world = World::new();
    let layer = world.layer().max_request_body(8).build().unwrap();
    let runs = world.runs.clone();
    let inner = service_fn(move |_: Request<Body<_>>| {
        runs.run();
        async { Ok::<_, Infallible>(http::Response::new(Full::<Bytes>::default())) }
    });
    let service = layer.layer(inner);
    let mut declared = upload(vec![data("x")], true);
    declared
        .headers_mut()
        .insert("content-length", "9".parse().unwrap());
    for request in [declared, upload(vec![data("12345"), data("6789")], true)] {
        let refused = reply(service.clone().oneshot(request).await.unwrap()).await;
        assert_eq!(
            (refused.status.as_u16(), refused.code().as_str()),
            (413, "too-large")
        );
    }
    let fits = upload(vec![data("12345"), data("678")], false);
    assert_eq!(service.clone().oneshot(fits).await.unwrap().status(), 200);
    assert_eq!(world.runs.count(), 1);

    let whole = world.counting(world.layer().max_request_body(8));
    let mut request = order("other");
    *request.body_mut() = Full::from("123456789");
    assert_eq!(whole.send(request).await.code(), "too-large");
    assert_eq!(world.runs.count(), 1);
}

/// H-26.
#[tokio::test]
async fn a_body_that_breaks_off_claims_nothing() {
    let world = World::new();
    let runs = world.runs.clone();
    let service = world.layer().build().unwrap().layer(service_fn(move |_| {
        runs.run();
        async { Ok::<_, Infallible>(http::Response::new(Full::<Bytes>::default())) }
    }));
    let broken = upload(
        vec![data("half"), Err(io::ErrorKind::ConnectionReset.into())],
        false,
    );
    let refused = reply(service.oneshot(broken).await.unwrap()).await;
    assert_eq!(
        (refused.status.as_u16(), refused.code().as_str()),
        (400, "upload")
    );
    assert_eq!((world.runs.count(), world.store_calls()), (0, 0));
}

/// A client that stalls keeps nobody else waiting.
#[tokio::test(start_paused = true)]
async fn a_stalled_upload_holds_no_key_and_ends() {
    let world = World::new();
    let layer = world
        .layer()
        .upload_timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    let runs = world.runs.clone();
    let service = layer.layer(service_fn(move |_| {
        runs.run();
        async { Ok::<_, Infallible>(http::Response::new(Full::<Bytes>::default())) }
    }));
    let stalled = tokio::spawn(service.clone().oneshot(upload(vec![data("half")], true)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let other = service
        .oneshot(upload(vec![data("whole")], false))
        .await
        .unwrap();
    assert_eq!(other.status(), 200);
    let refused = reply(stalled.await.unwrap().unwrap()).await;
    assert_eq!(
        (refused.status.as_u16(), refused.code().as_str()),
        (408, "upload-timeout")
    );
    assert_eq!(world.runs.count(), 1);
}

/// H-27.
#[tokio::test]
async fn the_handler_gets_the_request_as_it_came() {
    #[derive(Clone, Debug, PartialEq)]
    struct User(&'static str);

    let world = World::new();
    let service =
        world
            .layer()
            .build()
            .unwrap()
            .layer(service_fn(async |request: Request<Body<_>>| {
                assert_eq!(request.uri(), "/orders");
                assert_eq!(request.headers()["x-odd"].as_bytes(), b"\xff");
                assert_eq!(request.extensions().get(), Some(&User("ann")));
                let body = request.into_body().collect().await.unwrap();
                let sum = body.trailers().unwrap()["x-sum"].clone();
                assert_eq!(sum, "7");
                Ok::<_, Infallible>(http::Response::new(Full::new(body.to_bytes())))
            }));
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "7".parse().unwrap());
    let bytes = Ok(Frame::data(Bytes::from_static(b"\0\xff")));
    let mut request = upload(
        vec![bytes, data("tail"), Ok(Frame::trailers(trailers))],
        false,
    );
    let odd = http::HeaderValue::from_bytes(b"\xff").unwrap();
    request.headers_mut().insert("x-odd", odd);
    request.extensions_mut().insert(User("ann"));
    let reply = reply(service.oneshot(request).await.unwrap()).await;
    assert_eq!(reply.body, &b"\0\xfftail"[..]);
}
